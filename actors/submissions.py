"""Cutting what was collected into submissions: at most 500 updates each, what commits with them on the last part.

Owns the limits on unknown devices. Pure: no I/O, no waiting.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from domain.model import MAX_UPDATES_PER_SUBMISSION, CanonicalUpdate, Submission

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.model import Device, Reading

# How many devices nobody configured are kept per run for the ledger; a shared account may show thousands.
MAX_UNKNOWN_DEVICES = 100


def make_update(
    connection: tuple[str, str],
    external_id: str,
    device: Device | None,
    readings: tuple[Reading, ...],
    received_at: datetime,
    trace_id: str,
) -> CanonicalUpdate:
    """`connection` is (workspace_id, provider_id); a device nobody configured keeps its external id for the ledger."""
    return CanonicalUpdate(
        connection[0],
        connection[1],
        None if device is None else device.device_id,
        external_id,
        None,
        readings,
        received_at,
        trace_id,
    )


def split(submission: Submission) -> Sequence[Submission]:
    """Parts of at most 500 updates, in order; cursor, cycle, facts, confirmation and invalid items go with the last."""
    updates = submission.updates
    if len(updates) <= MAX_UPDATES_PER_SUBMISSION:
        return [submission]
    cuts = range(0, len(updates), MAX_UPDATES_PER_SUBMISSION)
    parts = [
        Submission(
            origin=submission.origin,
            trace_id=submission.trace_id,
            ownership=submission.ownership,
            updates=updates[cut : cut + MAX_UPDATES_PER_SUBMISSION],
        )
        for cut in cuts[:-1]
    ]
    return [*parts, replace(submission, updates=updates[cuts[-1] :])]


class UnknownDevices:
    """Lets the first hundred unknown external ids of a run through and counts the rest."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self.dropped = 0

    def admits(self, external_id: str, known: Mapping[str, Device]) -> bool:
        """Whether a sample of this id becomes an update."""
        if external_id in known or external_id in self._seen:
            return True
        if len(self._seen) < MAX_UNKNOWN_DEVICES:
            self._seen.add(external_id)
            return True
        self.dropped += 1
        return False
