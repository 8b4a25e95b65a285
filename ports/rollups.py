"""The hours of indicators that are counted in advance."""

from __future__ import annotations

from typing import Protocol


class RollupStore(Protocol):
    async def build_hours(self, *, hours_back: int, most: int) -> int:
        """Count hours that can change no more and were not counted yet, newest first.

        Looks at the last `hours_back` hours of every workspace, and counts at most `most` hours.
        Returns how many it counted; 0 while another shard does this.
        """
