"""What a live page watches: devices, counts, and topics whose news have it fetch a part anew.

A page declares it (docs/pages.md, "Live pages"). Owns the words; the board (live_board.py) finds
the news.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.access import Access


class Topic(StrEnum):
    """What a part of a page depends on, so that it is fetched anew after news of it."""

    STATES = "states"  # a device has another state or reason, is new, or is gone
    CYCLES = "cycles"  # a cycle started, ended, or was compared with the legacy system
    CONFIGURATION = "configuration"  # a workspace was configured
    CLOCK = "clock"  # time passed


_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What one page watches. Workspaces that its viewer does not see are left out of it.

    `rows`: workspaces whose devices it shows; `only` limits these to some, as `workspace/device`.
    `counts`: workspaces whose devices it counts by state; None: all that the viewer sees.
    `follows`: workspaces of its topics beside those of `rows`. `regions`: topics of its parts.
    """

    rows: frozenset[str] = _NOTHING
    only: frozenset[str] | None = None
    counts: frozenset[str] | None = _NOTHING
    follows: frozenset[str] = _NOTHING
    regions: Mapping[str, Topic] = field(default_factory=dict, hash=False)

    @property
    def topics_of(self) -> frozenset[str]:
        """Return the workspaces that cycles and configuration are watched of."""
        asks = {Topic.CYCLES, Topic.CONFIGURATION} & set(self.regions.values())
        return self.rows | self.follows if asks else _NOTHING

    def limited_to(self, access: Access) -> Watch:
        """Return what of it may be shown with this access."""
        seen = access.workspaces
        if seen is None:
            return self
        return replace(
            self,
            rows=self.rows & seen,
            follows=self.follows & seen,
            counts=seen if self.counts is None else self.counts & seen,
        )
