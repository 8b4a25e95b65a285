"""The command line: its commands, and the explanation of mistakes.

Owns names, flags and exit codes. 0: done. 1: a check failed (`demo`, `migrate --check`). 2: wrong
usage or settings. 69: something is unavailable. Those of a running shard are in service.py, 130 is
in serving.py. The commands' work is in other modules.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import orjson
import trio
import typer

from lastheard import settings as settings_module
from lastheard.client import ClientError, connect
from lastheard.fitting import open_console
from lastheard.tables import health_csv, health_table, runtime_tables
from runtime.clock import SystemClock
from runtime.exception_groups import first_leaf
from runtime.faults import EnvironmentFault
from runtime.logs import configure_logging
from runtime.settings import SettingsError
from simulator.faults import describe_faults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from rich.table import Table

    from lastheard.client import ApiClient
    from lastheard.settings import Settings

app = typer.Typer(
    help="Lastheard knows when it last heard from every vehicle, and whose fault the silence is.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
token_app = typer.Typer(help="API keys.", no_args_is_help=True, rich_markup_mode=None)
config_app = typer.Typer(help="Settings.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(token_app, name="token")
app.add_typer(config_app, name="config")

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
EverythingOption = Annotated[
    bool, typer.Option("--everything", help="eight fleets with every fault of the simulator")
]
WorkspaceArgument = Annotated[str, typer.Argument(help="workspace_id")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON, one page of the API per line")]
CsvOption = Annotated[bool, typer.Option("--csv", help="CSV with a header")]


@app.command()
def demo(
    seconds: Annotated[
        float | None,
        typer.Option(
            "--for",
            min=1,
            help="end after so many seconds with a summary; from 60 on, every state must occur",
        ),
    ] = None,
    everything: EverythingOption = False,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Run everything on this machine: our own PostgreSQL, simulated fleets, one shard.

    Prints the address and a key. Runs until Ctrl-C, or for --for seconds. Exit code 1 unless every
    workspace completed a cycle and the counts add up.
    """
    from lastheard.demo import run_demo

    settings = _load(
        config,
        data_dir=data_dir,
        dsn="",  # not that of the environment or the file: the demo has a database of its own
        embedded=True,
        shard_id="demo",
        http_port=_given_or_free_port("LASTHEARD_HTTP_PORT"),
        probe_port=_given_or_free_port("LASTHEARD_PROBE_PORT"),
        min_poll_interval_seconds=2,
        outbound_allow="127.0.0.1",  # where the simulated fleets listen
        log_level=os.environ.get("LASTHEARD_LOG_LEVEL", "error"),
    )
    _run(settings, partial(run_demo, settings, seconds=seconds, everything=everything))


def _given_or_free_port(variable: str) -> str:
    """Return the variable's port, or 0 for a free one.

    A demo must not fail because another process listens on the default port.
    """
    return os.environ.get(variable, "0")


@app.command()
def serve(
    embedded: EmbeddedOption = None,
    host: Annotated[
        str | None, typer.Option(help="address to listen on (default: 127.0.0.1)")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="port to listen on; 0 picks a free one (default: 8080)")
    ] = None,
    probe_port: Annotated[
        int | None,
        typer.Option(help="port for /healthz and /readyz; 0 picks a free one (default: 8081)"),
    ] = None,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Run one shard until SIGTERM or Ctrl-C; end in order: readiness off, drain, flush, release."""
    from lastheard.serving import serve as run_shard

    settings = _load(
        config,
        embedded=embedded,
        http_host=host,
        http_port=port,
        probe_port=probe_port,
        data_dir=data_dir,
    )
    _run(settings, partial(run_shard, settings))


@app.command()
def migrate(
    check: Annotated[
        bool,
        typer.Option("--check", help="change nothing; exit code 1 when the schema is not current"),
    ] = False,
    embedded: EmbeddedOption = None,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Bring the database's schema up to date. Safe to repeat, and to run in parallel."""
    from lastheard.serving import migrate_database

    settings = _load(config, embedded=embedded, data_dir=data_dir)
    _run(settings, partial(migrate_database, settings, check_only=check))


@app.command(epilog=f"Faults, written name=value,name=value:\n\n\b\n{describe_faults()}")
def simulate(
    devices: Annotated[int, typer.Option(min=1, help="vehicles in all")] = 100,
    tenants: Annotated[int, typer.Option(min=1, help="fleets, each with its own credential")] = 1,
    rfms_tenants: Annotated[
        int, typer.Option(min=0, help="how many of the fleets speak rFMS instead of the stream")
    ] = 0,
    rate: Annotated[float, typer.Option(help="frames per second and vehicle")] = 1.0,
    faults: Annotated[str, typer.Option(help="name=value,name=value; see below")] = "",
    seed: Annotated[int, typer.Option(help="the same seed gives the same fleet")] = 0,
    everything: EverythingOption = False,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on; 0 picks a free one")] = 0,
) -> None:
    """Run the simulated fleets alone, until Ctrl-C. Prints addresses and credentials as JSON.

    A service that collects from them needs LASTHEARD_OUTBOUND_ALLOW=127.0.0.1. With --everything
    only --devices (184 or more) and --seed count.
    """
    from simulator.config import ConfigInvalid, build_config
    from simulator.everything import everything_config
    from simulator.faults import FaultsInvalid
    from simulator.run import run
    from simulator.server import CannotListen

    try:
        if everything:
            simulated = everything_config(devices, seed)
        else:
            simulated = build_config(
                devices=devices,
                tenants=tenants,
                rfms_tenants=rfms_tenants,
                rate=rate,
                faults=faults,
                seed=seed,
            )
    except (ConfigInvalid, FaultsInvalid) as error:
        _fail(str(error))
    try:
        run(simulated, host=host, port=port)
    except CannotListen as error:
        _fail(str(error), EXIT_UNAVAILABLE)


@app.command()
def health(
    workspace: WorkspaceArgument,
    state: Annotated[
        list[str] | None, typer.Option("--state", help="only this state; may be repeated")
    ] = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    config: ConfigOption = None,
) -> None:
    """List the devices of a workspace: state, reason, age.

    Asks the API at LASTHEARD_ADDRESS with LASTHEARD_KEY.
    """
    _exclude_each_other(as_json, as_csv)

    def answer(client: ApiClient) -> Iterable[str | Table]:
        wanted = {"state": state} if state else {}
        pages = client.pages(f"/workspaces/{quote(workspace, safe='')}/health", **wanted)
        return (
            [health_csv(pages)]
            if as_csv
            else _listed(pages, f"Health of {workspace}", as_json=as_json)
        )

    _print(config, answer)


@app.command()
def worklist(
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    config: ConfigOption = None,
) -> None:
    """List the devices that stopped reporting or never did, of all workspaces that the key may see.

    The longest silent come first.
    """
    _exclude_each_other(as_json, as_csv)

    def answer(client: ApiClient) -> Iterable[str | Table]:
        if as_csv:
            return client.csv_parts("/worklist")
        return _listed(client.pages("/worklist"), "Worklist", as_json=as_json, with_workspace=True)

    _print(config, answer)


@app.command()
def runtime(
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show shards, leases, actors, queues and database connections. Look here first in trouble."""

    def answer(client: ApiClient) -> Iterable[str | Table]:
        report = client.read("/runtime")
        if as_json:
            return [orjson.dumps(report).decode() + "\n"]
        return runtime_tables(report, out.width)

    _print(config, answer)


@token_app.command("create")
def token_create(
    name: Annotated[str, typer.Argument(help="a name for the key, such as its user's")],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="read, ingest, control or admin; may be repeated"),
    ] = None,
    workspace: Annotated[
        list[str] | None,
        typer.Option("--workspace", help="limit to this workspace; may be repeated (default: all)"),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, help="expires after so many days (default: never)")
    ] = None,
    embedded: EmbeddedOption = None,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Make an API key and print it. It cannot be shown again: only its hash is stored.

    Needs the database: LASTHEARD_DSN, or --embedded, also beside a running `serve --embedded`.
    """
    from lastheard.tokens import create_token

    settings = _load(config, embedded=embedded, data_dir=data_dir)
    expires_at = None if days is None else SystemClock().wall() + timedelta(days=days)
    _run(
        settings,
        partial(create_token, settings, name, scope or ["read"], workspace or None, expires_at),
    )


@config_app.command("check")
def config_check(config: ConfigOption = None) -> None:
    """Load the settings and print them, or explain what is wrong with each and how to mend it."""
    settings = _load(config)
    for field in type(settings).model_fields:
        value = getattr(settings, field)
        shown = "(set)" if field == "dsn" and value is not None else value
        out.print(f"LASTHEARD_{field.upper()} = {shown}", markup=False)


def _listed(
    pages: Iterable[dict[str, Any]], title: str, *, as_json: bool, with_workspace: bool = False
) -> Iterator[str | Table]:
    """Yield a list of devices: as JSON, one line for each page, or as one table."""
    if as_json:
        yield from (orjson.dumps(page).decode() + "\n" for page in pages)
        return
    items = [item for page in pages for item in page["items"]]
    heading = f"{title}: {len(items)} devices"
    yield health_table(heading, items, out.width, with_workspace=with_workspace)


def _print(config: Path | None, answer: Callable[[ApiClient], Iterable[str | Table]]) -> None:
    """Print the parts of `answer`: tables by rich, text unchanged. An error is one sentence."""
    try:
        for place, part in enumerate(answer(connect(_load(config)))):
            if isinstance(part, str):
                sys.stdout.write(part)
            else:
                out.print(*(["\n"] if place else []), part, sep="")
    except (ClientError, EnvironmentFault) as error:
        _fail(str(error), EXIT_UNAVAILABLE)


def _exclude_each_other(as_json: bool, as_csv: bool) -> None:
    if as_json and as_csv:
        _fail("--json and --csv exclude each other")


def _load(config: Path | None, **overrides: object) -> Settings:
    try:
        settings = settings_module.load(config, **overrides)
    except SettingsError as error:
        _fail(str(error))
    configure_logging(format=settings.log_format, level=settings.log_level)
    return settings


def _run(settings: Settings, main: Callable[[], Awaitable[int]]) -> None:
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
        _fail(
            _explain(fault, settings),
            EXIT_USAGE if isinstance(fault, SettingsError) else EXIT_UNAVAILABLE,
        )
    raise typer.Exit(code)


def _explain(fault: BaseException, settings: Settings) -> str:
    """Return the fault's message; for a database that is away, with what to check."""
    from storage.faults import DatabaseAway

    is_away = type(fault) is DatabaseAway and not settings.embedded
    return f"{fault}{AWAY_REMEDY if is_away else ''}"


def _fail(message: str, code: int = EXIT_USAGE) -> Any:
    """Print the message on standard error and exit."""
    typer.echo(f"lastheard: {message}", err=True)
    raise typer.Exit(code)


def main() -> None:
    """Run the `lastheard` command."""
    app()
