"""The parts that all commands share: common options, loading settings, printing, exit codes.

Owns how a command ends: a fault of the environment or of the settings becomes one sentence on
standard error, and a bug keeps its traceback.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import orjson
import trio
import typer

from lastheard import settings as settings_module
from lastheard.client import ClientError, connect
from lastheard.fitting import open_console, width_of_terminal
from lastheard.wording import wrap_lines
from runtime.exception_groups import first_leaf
from runtime.faults import EnvironmentFault
from runtime.logs import configure_logging
from runtime.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from rich.table import Table

    from lastheard.client import ApiClient
    from lastheard.settings import Settings

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 69
AWAY_REMEDY = ". Check that it runs, and that LASTHEARD_DSN leads to it"
out = open_console()

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="TOML file of settings (default: $LASTHEARD_CONFIG)", dir_okay=False
    ),
]
EmbeddedOption = Annotated[
    bool | None,
    typer.Option(
        "--embedded", help="use the PostgreSQL in the data folder; start it when it does not run"
    ),
]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="data folder (default: .lastheard)")
]
UrlOption = Annotated[
    str | None, typer.Option("--url", help="address of the API (default: LASTHEARD_ADDRESS)")
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key", help="reference to the key, env:NAME or file:PATH (default: LASTHEARD_KEY)"
    ),
]
WorkspaceArgument = Annotated[str, typer.Argument(help="workspace_id")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON, one page of the API per line")]
CsvOption = Annotated[bool, typer.Option("--csv", help="CSV with a header")]


def make_group(text: str) -> typer.Typer:
    """Return a group of commands, for `app.add_typer`."""
    return typer.Typer(help=text, no_args_is_help=True, rich_markup_mode=None)


def load(config: Path | None, **overrides: object) -> Settings:
    """Return the settings, with logging set up as they say. Exits for wrong ones."""
    try:
        settings = settings_module.load(config, **overrides)
    except SettingsError as error:
        fail(str(error))
    configure_logging(format=settings.log_format, level=settings.log_level)
    return settings


def run_command(settings: Settings, main: Callable[[], Awaitable[int]]) -> None:
    """Run `main` and exit with its code. A fault of the environment becomes one sentence.

    A bug keeps its traceback.
    """
    fault: BaseException | None = None
    code = 0
    try:
        code = trio.run(main)
    except* (EnvironmentFault, SettingsError) as group:
        fault = first_leaf(group)
    # Not inside `except*`: an exception raised there leaves as a group, and typer would not exit
    # with it.
    if fault is not None:
        fail(
            explain(fault, settings),
            EXIT_USAGE if isinstance(fault, SettingsError) else EXIT_UNAVAILABLE,
        )
    raise typer.Exit(code)


def explain(fault: BaseException, settings: Settings) -> str:
    """Return the fault's message; for a database that is away, with what to check."""
    from storage.faults import DatabaseAway

    is_away = type(fault) is DatabaseAway and not settings.embedded
    return f"{fault}{AWAY_REMEDY if is_away else ''}"


class ApiAccess(NamedTuple):
    """Where the API is and which key opens it, as a command's options name them.

    None stands for what the settings say.
    """

    url: str | None
    key: str | None
    config: Path | None

    def connect(self) -> ApiClient:
        """Return the client. Exits for wrong settings. Raises ClientError without a key."""
        given = {"address": self.url, "key": self.key}
        named = {name: one for name, one in given.items() if one is not None}
        return connect(load(self.config, **named))


def print_answer(access: ApiAccess, answer: Callable[[ApiClient], Iterable[str | Table]]) -> None:
    """Print the parts of `answer`: tables by rich, text unchanged. An error is one sentence."""
    try:
        for place, part in enumerate(answer(access.connect())):
            if isinstance(part, str):
                sys.stdout.write(part)
            else:
                if place:
                    out.print()
                out.print(part)
    except (ClientError, EnvironmentFault) as error:
        fail(str(error), EXIT_UNAVAILABLE)


def json_line(document: object) -> str:
    return orjson.dumps(document).decode() + "\n"


def exclude_each_other(as_json: bool, as_csv: bool) -> None:
    if as_json and as_csv:
        fail("--json and --csv exclude each other")


def say(text: str, *, err: bool = False) -> None:
    """Print sentences, one a line. A terminal gets them broken between words, a pipe unchanged."""
    width = width_of_terminal(sys.stderr if err else sys.stdout)
    typer.echo(wrap_lines(text, width), err=err)


def fail(message: str, code: int = EXIT_USAGE) -> Any:
    """Print the message on standard error and exit."""
    say(f"lastheard: {message}", err=True)
    raise typer.Exit(code)
