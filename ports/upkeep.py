"""Partitions ahead and retention behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Retention(NamedTuple):
    """The days for which rows are kept.

    Cycles and refusals that are dropped go on as spans. Of the edges of each fact the newest one
    that is too old is kept: it says what held when the kept days begin.
    """

    event_days: int = 90  # and quarantine
    edge_days: int = 90
    cycle_days: int = 30
    rejection_days: int = 30
    span_days: int = 90  # since the last cycle or refusal of the span; and counted hours
    sign_in_days: int = 1  # since it was over

    @property
    def facts_days(self) -> int:
        """For how many days every fact is kept of which hours are counted."""
        return min(self.event_days, self.edge_days, self.cycle_days, self.rejection_days)


class UpkeepStore(Protocol):
    async def ensure_partitions(self, *, days_ahead: int) -> int:
        """Make daily event partitions for today and `days_ahead` more days.

        Returns how many days ahead exist now.
        """

    async def drop_expired(self, kept: Retention) -> Mapping[str, int]:
        """Apply retention; return how much was dropped, by table."""
