"""The commands `lastheard config …`, and `lastheard --version`."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from typing import Annotated

import typer

from lastheard.terminal import ConfigOption, load, make_group, out, run_command

config_app = make_group("Settings.")


@config_app.command("check")
def config_check(
    connect: Annotated[
        bool,
        typer.Option(
            "--connect",
            help="try the database, too: reached, its version, its schema, no pooler that breaks "
            "sessions; exit code 1 when the schema is not current, 69 when it cannot be used",
        ),
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Load the settings and print them, or say what is wrong with each.

    Changes nothing and starts nothing.
    """
    settings = load(config)
    for field in type(settings).model_fields:
        value = getattr(settings, field)
        out.print(f"LASTHEARD_{field.upper()} = {_shown(field, value)}", markup=False)
    if connect:
        from lastheard.database_check import check_database

        run_command(settings, partial(check_database, settings))


def _shown(name: str, value: object) -> object:
    """Return the value for a reader; the DSN is not shown, because it may have a password."""
    if value is None or value in ("", ()):
        return "(unset)"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "(set)" if name == "dsn" else value


def print_version(wanted: bool) -> None:
    """Print the version and exit, if it is wanted."""
    if wanted:
        typer.echo(f"lastheard {version('lastheard')}")
        raise typer.Exit
