"""Fetching what `ownership.py` judges, and telling the sessions of many shards apart."""

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
    SELECT workspace_id, device_id, sequence, recorded_at, shard_id, epoch, resource, token FROM events
"""
CYCLES = "SELECT workspace_id, slot_start_at, trigger, attempt, outcome, started_at, ended_at FROM poll_cycles"
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


async def fetch_owned_events(dsn: str) -> list[OwnedEvent]:
    rows = await trio.to_thread.run_sync(fetch, dsn, OWNED_EVENTS)
    return [OwnedEvent(**row) for row in rows]


async def fetch_cycles(dsn: str) -> list[CycleRow]:
    rows = await trio.to_thread.run_sync(fetch, dsn, CYCLES)
    return [CycleRow(**row) for row in rows]


async def fetch_connections(simulated: Simulated) -> list[Connection]:
    """The provider's own log: every stream connection there ever was."""
    entries = await ask_simulator(simulated, "/sim/connections")
    return [
        Connection(entry["tenant"], entry["opened_at"], entry["closed_at"]) for entry in entries
    ]


def generations_of(processes: Sequence[Process]) -> list[Generation]:
    """What each process said of its commits; in place of an epoch its number, since it may have had several."""
    return [
        Generation(number, _logged(process.shard.child), process.killed)
        for number, process in enumerate(processes)
    ]


def unify_epochs(
    processes: Sequence[Process], events: Iterable[Event], owned: Iterable[OwnedEvent]
) -> list[Event]:
    """The events with the number of the process that wrote them in place of its epoch, -1 when none of these did."""
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
    """With a beginning, for a process that was killed before its first commit."""
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
