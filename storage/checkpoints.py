"""Checkpoints of devices, from events that are about to be dropped.

Owns the walk through a partition, in chunks of a fixed number of events. A checkpoint has what a
device's events said up to its version. The events that are kept lead on from there to any later
instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from storage.queries import bound

if TYPE_CHECKING:
    from datetime import datetime

    from storage.gateway import Connection

CHUNK_EVENTS: Final = 5_000


class EventKey(NamedTuple):
    """The place of an event in the order of its partition's index."""

    workspace_id: str
    device_id: str
    recorded_at: datetime
    sequence: int


def first_key(begins_at: datetime) -> EventKey:
    """Return the place before every event of the partition that begins then."""
    return EventKey("", "", begins_at, 0)


async def checkpoint_events(
    connection: Connection, begins_at: datetime, ends_at: datetime, after: EventKey
) -> EventKey | None:
    """Write the next chunk of events to the checkpoints. Runs in asyncio.

    Returns the place of its last event; None if nothing comes after it.
    """
    call = bound(
        "checkpoint_events",
        begins_at=begins_at,
        ends_at=ends_at,
        after_workspace_id=after.workspace_id,
        after_device_id=after.device_id,
        after_recorded_at=after.recorded_at,
        after_sequence=after.sequence,
        limit=CHUNK_EVENTS,
    )
    last = await connection.fetchrow(*call)
    if last is None or last["events"] < CHUNK_EVENTS:
        return None
    *key, _ = last
    return EventKey(*key)
