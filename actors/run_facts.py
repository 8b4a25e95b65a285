"""What the records of a cycle say of one connection, summed up while it is collected.

Owns the sums only. collect.py notes what it logs, page by page, and cycle.py notes the verdicts of
the commits, so the stored facts and the log agree.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actors.records import count_refusals
from domain.lifecycle import CollectedFacts
from runtime.instants import format_instant

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from domain.model import InvalidItem, Receipt


@dataclass(slots=True)
class RunFacts:
    """Sums of one connection's pages and of their commits. See CollectedFacts for the members."""

    provider_type: str
    received_at: datetime | None = None
    payload_prepared_at: datetime | None = None
    committed_at: datetime | None = None
    frames: int = 0
    prepared: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    rejected_records: Counter[str] = field(default_factory=Counter)

    def note_page(self, now: datetime, frames: int, prepared: dict[str, int]) -> None:
        """Note a page that came and is handed over now."""
        self.received_at = self.received_at or now
        self.payload_prepared_at = now
        self.frames += frames
        self.prepared.update(prepared)

    def note_invalid(self, items: Iterable[InvalidItem]) -> None:
        """Note records that gave no update, or not all of it."""
        for item in items:
            self.rejected_records[str(item.reason)] += item.occurrences

    def note_receipt(self, receipt: Receipt) -> None:
        """Note the verdict of a part."""
        refused = count_refusals(receipt)
        self.accepted += len(receipt.results) - refused.total()
        self.reasons += refused
        self.committed_at = receipt.committed_at

    def stored(self) -> CollectedFacts:
        return CollectedFacts(
            provider_type=self.provider_type,
            received_at=_text(self.received_at),
            payload_prepared_at=_text(self.payload_prepared_at),
            committed_at=_text(self.committed_at),
            frames=self.frames,
            updates=self.prepared["updates"],
            devices_answered=self.prepared["devices_answered"],
            malformed=self.prepared["malformed"],
            ignored=self.prepared["ignored"],
            accepted=self.accepted,
            reasons=dict(self.reasons),
            rejected_records=dict(self.rejected_records),
        )


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else format_instant(instant)
