"""Cutting of collected data into submissions of at most 500 updates.

Everything that commits with the data goes on the last part. Owns the limits on unknown devices.
Pure: no I/O, no waiting.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from domain.model import MAX_UPDATES_PER_SUBMISSION, CanonicalUpdate, Submission

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.model import Device, InvalidItem, Reading

T = TypeVar("T")

# Unconfigured devices that are kept per run for the ledger; a shared account may show thousands.
MAX_UNKNOWN_DEVICES = 100


def make_update(
    connection: tuple[str, str],
    external_id: str,
    device: Device | None,
    readings: tuple[Reading, ...],
    received_at: datetime,
    trace_id: str,
    reception_at: datetime | None = None,
) -> CanonicalUpdate:
    """Return an update of one device. `connection` is (workspace_id, provider_id).

    The external id of a configured device is written as it was configured. An unconfigured device
    has no device_id and keeps its external id for the ledger, without spaces at its ends.
    """
    return CanonicalUpdate(
        connection[0],
        connection[1],
        None if device is None else device.device_id,
        external_id.strip() if device is None else device.external_id,
        None,
        readings,
        received_at,
        trace_id,
        reception_at,
    )


def split(submission: Submission) -> Sequence[Submission]:
    """Return parts of at most 500 updates and 500 invalid items, in order.

    Invalid items come after all updates. Cursor, cycle, facts and statements go with the
    last part.
    """
    updates, invalid = submission.updates, submission.invalid
    if len(updates) <= MAX_UPDATES_PER_SUBMISSION >= len(invalid):
        return [submission]
    chunks: list[tuple[tuple[CanonicalUpdate, ...], tuple[InvalidItem, ...]]]
    chunks = [(chunk, ()) for chunk in _chunks(updates)] or [((), ())]
    first_invalid, *more_invalid = _chunks(invalid) or [()]
    chunks[-1] = (chunks[-1][0], first_invalid)
    chunks += [((), chunk) for chunk in more_invalid]
    parts = [
        Submission(
            origin=submission.origin,
            trace_id=submission.trace_id,
            ownership=submission.ownership,
            updates=chunk,
            invalid=bad,
        )
        for chunk, bad in chunks[:-1]
    ]
    return [*parts, replace(submission, updates=chunks[-1][0], invalid=chunks[-1][1])]


def _chunks(items: tuple[T, ...]) -> list[tuple[T, ...]]:
    cuts = range(0, len(items), MAX_UPDATES_PER_SUBMISSION)
    return [items[cut : cut + MAX_UPDATES_PER_SUBMISSION] for cut in cuts]


class UnknownDevices:
    """Lets the first hundred unknown external ids of a run through.

    Counts the samples of all others.
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self.dropped = 0

    def admits(self, external_id: str, known: Mapping[str, Device]) -> bool:
        """Return whether a sample of this id becomes an update."""
        if external_id in known or external_id in self._seen:
            return True
        if len(self._seen) < MAX_UNKNOWN_DEVICES:
            self._seen.add(external_id)
            return True
        self.dropped += 1
        return False
