"""Records of one vehicle that were created in the same second: the later one stands. Pure.

Makers write whole seconds, so a timer's record and the record of a change can state the same time
with different values. Acceptance cannot order two readings of equal stated time. Within one answer
the maker's own order can: by its time of reception, then by place.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Self

from domain.signals import InvalidValue, check_value
from ports.providers import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from domain.model import Reading


class DatedSample(NamedTuple):
    """The readings of one record, with the times by which records are ordered."""

    created_at: datetime
    order_at: datetime  # reception, or else creation
    reception_at: datetime | None
    vin: str
    readings: tuple[Reading, ...]

    @classmethod
    def of(
        cls,
        vin: str,
        readings: Sequence[Reading],
        created_at: datetime,
        reception_at: datetime | None,
    ) -> Self:
        return cls(created_at, reception_at or created_at, reception_at, vin, tuple(readings))


def leave_out_superseded(samples: Sequence[DatedSample]) -> tuple[list[Sample], int]:
    """Return the samples without superseded readings, and how many readings were left out.

    A reading is superseded if a later sample of the vehicle has the same signal at the same time
    with another value. A value that acceptance will refuse supersedes none, and is kept, so that it
    is counted. Samples without readings are left out.
    """
    counts = Counter(sample.vin for sample in samples)
    last: dict[tuple[str, str, datetime], object] = {}
    for sample in samples:
        if counts[sample.vin] > 1:
            last.update(
                {(sample.vin, signal, at): value for signal, value, at in _valid(sample.readings)}
            )
    kept, superseded = [], 0
    for sample in samples:
        readings = sample.readings
        if counts[sample.vin] > 1:
            readings = tuple(
                reading
                for reading in readings
                if last.get((sample.vin, reading.signal, reading.observed_at), reading.value)
                == reading.value
                or not _valid([reading])
            )
            superseded += len(sample.readings) - len(readings)
        if readings:
            kept.append(Sample(sample.vin, readings, sample.reception_at))
    return kept, superseded


def _valid(readings: Iterable[Reading]) -> list[Reading]:
    """Return the readings whose value is one of their signal."""
    return [
        reading
        for reading in readings
        if not isinstance(check_value(reading.signal, reading.value), InvalidValue)
    ]
