"""The commands `lastheard apply` and `lastheard export`: their flags, output and exit codes."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lastheard.client import ClientError
from lastheard.fleet_apply import FleetStopped, carry_out, prepare
from lastheard.fleet_faults import FleetInvalid
from lastheard.fleet_file import read_fleet
from lastheard.fleet_state import list_workspace_ids, read_types, read_workspace, to_fleet
from lastheard.fleet_steps import list_changes
from lastheard.fleet_text import write_fleet
from lastheard.terminal import (
    EXIT_FAILED,
    EXIT_UNAVAILABLE,
    ApiAccess,
    ConfigOption,
    KeyOption,
    UrlOption,
    fail,
    say,
)
from lastheard.wording import counted
from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lastheard.client import ApiClient
    from lastheard.fleet_apply import Work
    from lastheard.fleet_model import FleetWorkspace

EXIT_INTERRUPTED = 130

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
    try:
        fleet = read_fleet(file)
        client = ApiAccess(url, key, config).connect()
        works = prepare(client, fleet, prune=prune, switch_off=switch_off, say=_say)
        _show(works, in_full=in_full)
        if not dry_run:
            _apply(client, works)
    except FleetInvalid as error:
        fail(str(error))
    except FleetStopped as error:
        fail(str(error), EXIT_FAILED)
    except (ClientError, EnvironmentFault) as error:
        fail(str(error), EXIT_UNAVAILABLE)
    except KeyboardInterrupt:
        fail("interrupted. Apply the file again to do the rest", EXIT_INTERRUPTED)


def _apply(client: ApiClient, works: Sequence[Work]) -> None:
    changes = sum(len(work.plan.changes) for work in works)
    if changes:
        # Until here Ctrl-C ends the process at once. From here on it ends with a message.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        carry_out(client, works, _say)
        typer.echo(f"applied: {counted(changes, 'change')}")


def _show(works: Sequence[Work], *, in_full: bool) -> None:
    """Print the difference, and what the file does not name and what stays."""
    for work in works:
        for line in list_changes(work.plan.changes, in_full=in_full):
            say(line)
    if not any(work.plan.changes for work in works):
        typer.echo("no change")
    for kind, flag in (("connection", "--prune"), ("device", "--prune")):
        count = sum(work.plan.kept.get(f"{kind}s", 0) for work in works)
        if count:
            _say(
                f"stored, but not in the file: {counted(count, kind)}, left as is ({flag} removes)"
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
    try:
        text = write_fleet(_read_all(ApiAccess(url, key, config).connect(), workspace))
        if output is None:
            sys.stdout.buffer.write(text.encode())
        else:
            output.write_bytes(text.encode())
    except (ClientError, EnvironmentFault) as error:
        fail(str(error), EXIT_UNAVAILABLE)
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror}")


def _read_all(client: ApiClient, wanted: Sequence[str] | None) -> list[FleetWorkspace]:
    types = read_types(client)
    fleet = []
    for workspace_id in wanted or list_workspace_ids(client):
        stored = read_workspace(client, workspace_id)
        if stored is None:
            raise ClientError(f"there is no workspace {workspace_id} that the key sees")
        fleet.append(to_fleet(stored, types))
    return fleet


def _say(text: str) -> None:
    say(text, err=True)
