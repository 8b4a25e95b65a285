"""Fetch the rows that `ownership.py` judges, and tell the sessions of many shards apart."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import trio

from tests.conftest import fetch
from tests.processes.fleets import ask_simulator
from tests.processes.history import Generation, Logged
from tests.processes.ownership import Connection, CycleRow, OwnedEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lastheard.simulation import Simulated
    from tests.processes.child import Child
    from tests.processes.cluster import Process
    from tests.processes.history import Event

OWNED_EVENTS = """
    SELECT workspace_id, device_id, sequence, recorded_at, shard_id, epoch, resource, token
    FROM readable_events
"""
CYCLES = """
    SELECT workspace_id, slot_start_at, trigger, attempt, outcome, started_at, ended_at
    FROM poll_cycles
"""
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


async def fetch_owned_events(dsn: str) -> list[OwnedEvent]:
    rows = await trio.to_thread.run_sync(fetch, dsn, OWNED_EVENTS)
    return [OwnedEvent(**row) for row in rows]


async def fetch_cycles(dsn: str) -> list[CycleRow]:
    rows = await trio.to_thread.run_sync(fetch, dsn, CYCLES)
    return [CycleRow(**row) for row in rows]


async def fetch_connections(simulated: Simulated) -> list[Connection]:
    """Return every stream connection that there was, from the provider's own log."""
    entries = await ask_simulator(simulated, "/sim/connections")
    return [
        Connection(entry["tenant"], entry["opened_at"], entry["closed_at"]) for entry in entries
    ]


def generations_of(processes: Sequence[Process]) -> list[Generation]:
    """Return what each process logged of its commits.

    A process may have had several epochs, so its number stands in place of an epoch.
    """
    return [
        Generation(number, _logged(process.shard.child), process.killed)
        for number, process in enumerate(processes)
    ]


def unify_epochs(
    processes: Sequence[Process], events: Iterable[Event], owned: Iterable[OwnedEvent]
) -> list[Event]:
    """Replace each event's epoch by the number of the process that wrote it, -1 if none did."""
    numbers = _number_by_session(processes)
    writers = {
        (event.workspace_id, event.device_id, event.sequence): (event.shard_id, event.epoch)
        for event in owned
    }
    return [
        event._replace(
            epoch=numbers.get(writers[event.workspace_id, event.device_id, event.sequence], -1)
        )
        for event in events
    ]


def _number_by_session(processes: Sequence[Process]) -> Mapping[tuple[str, int], int]:
    return {
        (process.shard_id, record["epoch"]): number
        for number, process in enumerate(processes)
        for record in process.shard.child.events("session_begun")
    }


def _logged(child: Child) -> list[Logged]:
    """Return what a process logged, after an entry for one that was killed before any commit."""
    return [
        Logged("", 0, LONG_AGO),
        *(
            Logged(
                record["trace_id"],
                record["updates"],
                datetime.fromisoformat(record["committed_at"]),
            )
            for record in child.events("telematics_update_accepted")
        ),
    ]
