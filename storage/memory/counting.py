"""The devices of a workspace as a cycle's record counts them, on the twin.

Owns what count_devices and count_devices_at of storage/sql count.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from domain.indicators import DeviceCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from storage.memory.tables import DeviceState, Tables

    # of one active device: its provider's transport, and when its newest update came
    Heard = tuple[str, datetime | None]


def count_devices(
    tables: Tables,
    state_of: Callable[[tuple[str, str]], DeviceState | None],
    workspace_id: str,
    slot_start_at: datetime,
    now: datetime,
) -> DeviceCounts:
    """Count the devices for a cycle of this slot that ends now. `state_of` returns their states."""
    heard = []
    for key, device in tables.devices.of(workspace_id).items():
        if device.retired_at is None and device.activated_at <= now:
            state = state_of(key)
            newest = state and state.last_update_received_at
            heard.append((_transport(tables, workspace_id, device.provider_id), newest))
    return _count(tables, workspace_id, heard, slot_start_at, now)


def count_devices_at(tables: Tables, workspace_id: str, at: datetime) -> DeviceCounts:
    """Count the devices at the beginning of a slot that is over, from their events."""
    heard = []
    for (_, device_id, number), one in tables.assignments.of(workspace_id).items():
        if one.effective_at <= at and (one.ended_at is None or one.ended_at > at):
            events = [
                (event.recorded_at, event.sequence, event.received_at)
                for (_, owner, _), event in tables.events.of(workspace_id).items()
                if owner == device_id and event.assignment == number and event.recorded_at <= at
            ]
            newest = max(events)[2] if events else None
            heard.append((_transport(tables, workspace_id, one.provider_id), newest))
    polled_since = at + timedelta(microseconds=1)  # without a cycle, no polled device had news
    return _count(tables, workspace_id, heard, polled_since, at)


def _transport(tables: Tables, workspace_id: str, provider_id: str) -> str:
    connection = tables.providers.get((workspace_id, provider_id))
    assert connection is not None  # noqa: S101 a device has one
    return connection.transport


def _count(
    tables: Tables,
    workspace_id: str,
    heard: Iterable[Heard],
    polled_since: datetime,
    now: datetime,
) -> DeviceCounts:
    workspace = tables.workspaces.get((workspace_id,))
    assert workspace is not None  # noqa: S101 a cycle has one
    fresh_since = now - timedelta(seconds=workspace.policy.freshness_target_seconds)
    pushed_since = now - timedelta(seconds=workspace.poll_interval_seconds)
    active = fresh = updated = 0
    for transport, newest in heard:
        active += 1
        fresh += newest is not None and newest >= fresh_since
        since = polled_since if transport == "poll" else pushed_since
        updated += newest is not None and newest >= since
    return DeviceCounts(active, fresh, updated)
