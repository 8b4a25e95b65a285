"""The commands `lastheard apply` and `lastheard export`: their flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lastheard.terminal import ApiAccess, ConfigOption, KeyOption, UrlOption

FileArgument = Annotated[Path, typer.Argument(help="the fleet file (TOML)", dir_okay=False)]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="write to this file, not to standard output"),
]


def apply_file(
    file: FileArgument,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="show the difference and change nothing")
    ] = False,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="in the workspaces of the file, retire devices and archive connections that it "
            "does not name",
        ),
    ] = False,
    switch_off: Annotated[
        bool,
        typer.Option("--switch-off", help="deactivate workspaces that the file does not name"),
    ] = False,
    in_full: Annotated[
        bool, typer.Option("--all", help="list every change, not the first 20 of a kind")
    ] = False,
    url: UrlOption = None,
    key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Configure fleets as a file says, and show the difference first.

    The file has workspaces with their connections and devices. A file with a mistake changes
    nothing. What the file does not name stays as it is, unless
    --prune or --switch-off is given. May be repeated, and interrupted: applied again, the rest is
    done. The key needs the scopes read and control. Exit code 1 if the service refused a change.
    """
    from lastheard.fleet_console import apply_fleet  # only now: it loads the models of the API

    apply_fleet(
        ApiAccess(url, key, config),
        file,
        dry_run=dry_run,
        prune=prune,
        switch_off=switch_off,
        in_full=in_full,
    )


def export_file(
    workspace: Annotated[
        list[str] | None,
        typer.Option(
            "--workspace",
            metavar="ID",
            help="only this workspace; may be repeated (default: all)",
        ),
    ] = None,
    output: OutputOption = None,
    url: UrlOption = None,
    key: KeyOption = None,
    config: ConfigOption = None,
) -> None:
    """Write what is configured as a file that `lastheard apply` takes.

    Retired devices and what was archived are left out. Credentials are references, never secrets.
    """
    from lastheard.fleet_console import export_fleet  # only now: it loads the models of the API

    export_fleet(ApiAccess(url, key, config), workspace, output)
