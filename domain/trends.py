"""What is shown beside a list of devices: how they did by the hour, and their connections. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from domain.model import FaultClass


class TrendQuery(NamedTuple):
    """Devices, the parts of time to look at, and the signal whose values are wanted."""

    device_ids: Sequence[str]
    spans: Sequence[tuple[datetime, datetime]]
    signal: str


class TrendPoint(NamedTuple):
    """A device in one part of time (`place`, from 0), in which it was heard.

    `value` is the signal's newest one; None if it did not come shortly before the last arrival.
    """

    device_id: str
    place: int
    heard_at: datetime
    value: Any


class ConnectionStateRow(NamedTuple):
    """A connection in use and what is known of it; None: it never happened."""

    provider_id: str
    provider_type: str
    transport: str
    active: bool
    simulated: bool
    call_status: str | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    failing_since: datetime | None
    fault: FaultClass | None
    fault_detail: str | None
    stream_status: str | None
    stream_changed_at: datetime | None
    stream_fault: FaultClass | None
    stream_fault_detail: str | None
    stream_down_since: datetime | None
    data_at: datetime | None
    sender_at: datetime | None
