"""What `lastheard apply` and `lastheard export` do: their output and exit codes."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import typer

from lastheard.client import ClientError
from lastheard.fleet_apply import FleetStopped, carry_out, prepare
from lastheard.fleet_faults import FleetInvalid
from lastheard.fleet_file import read_fleet
from lastheard.fleet_state import list_workspace_ids, read_types, read_workspace, to_fleet
from lastheard.fleet_steps import list_changes
from lastheard.fleet_text import write_fleet
from lastheard.terminal import EXIT_FAILED, EXIT_UNAVAILABLE, fail, say
from lastheard.wording import counted
from runtime.faults import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lastheard.client import ApiClient
    from lastheard.fleet_apply import Work
    from lastheard.fleet_model import FleetWorkspace
    from lastheard.terminal import ApiAccess

EXIT_INTERRUPTED = 130


def apply_fleet(
    access: ApiAccess,
    file: Path,
    *,
    dry_run: bool,
    prune: bool,
    switch_off: bool,
    in_full: bool,
) -> None:
    """Show what the file changes and, unless this is a dry run, change it."""
    try:
        fleet = read_fleet(file)
        client = access.connect()
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


def export_fleet(access: ApiAccess, workspace: Sequence[str] | None, output: Path | None) -> None:
    """Write what is configured to standard output, or to the file `output`."""
    try:
        text = write_fleet(_read_all(access.connect(), workspace))
        if output is None:
            sys.stdout.buffer.write(text.encode())
        else:
            output.write_bytes(text.encode())
    except (ClientError, EnvironmentFault) as error:
        fail(str(error), EXIT_UNAVAILABLE)
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror}")


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
