"""The facts behind a workspace's indicators, and the hours that are counted in advance."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from domain.indicators import Counts


class Freshness(NamedTuple):
    """The active devices at `evaluated_at`. Ages are seconds; `percentiles` are by their share."""

    evaluated_at: datetime
    target_seconds: float
    active: int
    heard: int  # since they were activated
    fresh: int
    percentiles: Mapping[float, float | None]
    oldest_seconds: float | None


class BurnWindow(NamedTuple):
    """What cycles counted in the seconds before the end of the indicators."""

    seconds: int
    samples: int
    active: int
    fresh: int


class CountedSpan(NamedTuple):
    """A part of the indicators' time within one hour. `counts` has what a chart shows."""

    begins_at: datetime
    ends_at: datetime
    counts: Counts


class IndicatorFacts(NamedTuple):
    """What is known of a span of time, from one snapshot of the database.

    `counts` are those of the whole span, `spans` its parts in order. `hours_missing` counts hours
    of which there are neither rollups nor facts, or too many facts for one request: they are in
    none of these.
    """

    freshness: Freshness
    active: int  # devices at the end of the span
    covered: int  # those of them with an update in the 24 hours before
    burn: Sequence[BurnWindow]
    counts: Counts
    spans: Sequence[CountedSpan]
    hours_missing: int


class ObjectiveSums(NamedTuple):
    """What the cycles of a workspace counted in a span of time, and in the windows before its end.

    `samples` counts the cycles at whose end devices were counted.
    """

    samples: int
    active: int
    fresh: int
    burn: Sequence[BurnWindow]


class Indicators(Protocol):
    async def load_indicators(
        self, workspace_id: str, begins_at: datetime, ends_at: datetime
    ) -> IndicatorFacts | None:
        """Return the facts of this span; None if there is no such workspace."""

    async def sum_objectives(
        self, workspaces: Sequence[str], begins_at: datetime, ends_at: datetime
    ) -> Mapping[str, ObjectiveSums]:
        """Return what the cycles of each workspace counted in this span.

        The sums are those of load_indicators, if every hour of the span can be counted. Of its burn
        windows those are told that lie within a day.
        """
        ...
