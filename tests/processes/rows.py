"""Fetch the data that `history.py` judges, from the tables and from a process's records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import trio

from tests.conftest import fetch
from tests.processes.history import DeviceRow, Event, Generation, Logged

if TYPE_CHECKING:
    from tests.processes.child import Child

EVENTS = """
    SELECT workspace_id, device_id, sequence, recorded_at, epoch, trace_id, readings, assignment
    FROM readable_events
"""
DEVICES = """
    SELECT workspace_id, device_id, s.version AS state_version, n.version AS snapshot_version,
        document, s.assignment
    FROM device_state s JOIN snapshots n USING (workspace_id, device_id)
"""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def fetch_history(dsn: str) -> tuple[list[Event], list[DeviceRow]]:
    """Return all events and devices of a database that no process writes to any more."""
    events = await trio.to_thread.run_sync(fetch, dsn, EVENTS)
    devices = await trio.to_thread.run_sync(fetch, dsn, DEVICES)
    return (
        [Event(**{**row, "readings": _document(row["readings"])}) for row in events],
        [DeviceRow(**{**row, "document": _values(row["document"])}) for row in devices],
    )


def generation_of(child: Child, *, killed: bool) -> Generation:
    """Return what a shard's process logged of its commits before it ended."""
    epochs = [record["epoch"] for record in child.events("session_begun")]
    assert len(epochs) == 1, f"this process had {len(epochs)} sessions"
    logged = [
        Logged(
            record["trace_id"], record["updates"], datetime.fromisoformat(record["committed_at"])
        )
        for record in child.events("telematics_update_accepted")
    ]
    return Generation(epochs[0], logged, killed)


def _values(text: str) -> dict[str, Any]:
    """Return a stored document with its stated times, without the product's code."""
    return {
        signal: (entry[0], _EPOCH + timedelta(microseconds=entry[1]))
        for signal, entry in orjson.loads(text).items()
    }


def _document(text: str) -> dict[str, Any]:
    return {
        signal: (value, datetime.fromisoformat(at))
        for signal, (value, at) in orjson.loads(text).items()
    }
