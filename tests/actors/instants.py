"""Virtual time of the actors' tests: it begins at NOON, when trio's clock reads 0."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from domain.schedule import Place, gathering_seconds, slot_of

INTERVAL = 300
GATHERING = gathering_seconds(INTERVAL)  # the cycles wait for each other for at most so long
# Nearly: the first moment of one of the harbour's slots.
NOON = slot_of(
    datetime(2026, 5, 1, 12, 0, tzinfo=UTC) + timedelta(seconds=INTERVAL), Place("", 0, INTERVAL)
)


def at(seconds: float) -> datetime:
    """The instant at which trio's clock reads so much."""
    return NOON + timedelta(seconds=seconds)
