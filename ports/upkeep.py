"""Partitions ahead and retention behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class UpkeepStore(Protocol):
    async def ensure_partitions(self, *, days_ahead: int) -> int:
        """Make daily event partitions for today and `days_ahead` more days.

        Returns how many days ahead exist now.
        """

    async def drop_expired(
        self, *, event_days: int, cycle_days: int, rejection_days: int
    ) -> Mapping[str, int]:
        """Apply retention; return how much was dropped, by table.

        Edges of connections and quarantine are kept as long as events.
        """
