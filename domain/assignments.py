"""Assignments: which unit sat in which vehicle, and from when until when.

This module owns what follows from the assignments of one external id: the spans in which it sat in
another vehicle. A reading observed within such a span belongs to that vehicle. It is refused for
the device that has the id now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from domain.model import Reading

# One id that went through more vehicles keeps the newest spans apart; the oldest become one.
MAX_SPANS: Final = 20
BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)


class VehicleSpan(NamedTuple):
    """A stretch of time from its first moment until just before its end."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class DeviceAssignment:
    """One span in which a device was active for one vehicle under one unit.

    `assignment` counts within the device, from 1. It holds from `effective_at`, and was stored at
    `entered_at`. `ended_at` is None while it lasts.
    """

    workspace_id: str
    device_id: str
    assignment: int
    provider_id: str
    external_id: str
    external_key: str
    vehicle_id: str
    vehicle_name: str
    effective_at: datetime
    entered_at: datetime
    ended_at: datetime | None = None


def find_other_spans(
    begun: DeviceAssignment, former: Sequence[DeviceAssignment]
) -> tuple[VehicleSpan, ...]:
    """Return when the external id of an assignment that begins now sat in another vehicle.

    `former` are the earlier assignments of that id, all ended. The time before the first of them is
    that of its vehicle, and a gap between two is that of the vehicle before it: nothing says that
    the unit had been moved by then.
    """
    ordered = sorted(_leave_out_corrected(begun, former), key=lambda one: one.effective_at)
    followed_by = [*(one.effective_at for one in ordered), begun.effective_at][1:]
    spans = [
        VehicleSpan(
            BEGINNING if index == 0 else one.effective_at,
            max(one.ended_at or following, following),
        )
        for index, (one, following) in enumerate(zip(ordered, followed_by, strict=True))
        if one.vehicle_id.strip() != begun.vehicle_id.strip()
    ]
    oldest = spans[: max(0, len(spans) - MAX_SPANS + 1)]
    if len(oldest) > 1:
        spans[: len(oldest)] = [VehicleSpan(oldest[0].start, max(span.end for span in oldest))]
    return tuple(spans)


def _leave_out_corrected(
    begun: DeviceAssignment, former: Sequence[DeviceAssignment]
) -> Iterator[DeviceAssignment]:
    """Yield the assignments that held at all: those whose device was not swapped at their start."""
    newest: dict[tuple[str, datetime], int] = {}
    for one in (*former, begun):
        key = (one.device_id, one.effective_at)
        newest[key] = max(one.assignment, newest.get(key, 0))
    for one in former:
        if newest[one.device_id, one.effective_at] == one.assignment:
            yield one


def is_outside(observed_at: datetime, other_spans: Sequence[VehicleSpan]) -> bool:
    """Return whether the instant lies in one of the spans. It must be aware."""
    return any(start <= observed_at < end for start, end in other_spans)


def find_outside(readings: Sequence[Reading], other_spans: Sequence[VehicleSpan]) -> frozenset[int]:
    """Return the places of the readings that are of another vehicle.

    A time without a zone is left to acceptance, which refuses it as invalid.
    """
    return frozenset(
        place
        for place, reading in enumerate(readings)
        if reading.observed_at.utcoffset() is not None
        and is_outside(reading.observed_at, other_spans)
    )
