"""Pages of health with counts that may be a moment old.

Owns how old counts may be, and that those who ask at the same time share one count. A page is
always of its own instant; its answer says when the counts are from. Counts of another configuration
are never shown beside a page. A later page, at the instant of the first, has the counts of that.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from ports.reads import EXACT_DEVICES, MAX_COUNTS_AGE_SECONDS
from runtime.kept_answers import KeptAnswers
from storage.health import configuration_key
from storage.health_rows import to_counts
from storage.kept_worklists import KeptWorklists

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ports.reads import HealthPage, HealthQuery
    from storage.health import FleetCounts, HealthStatements, ReadPage

MAX_KEPT: Final = 256  # counts; those that were made longest ago are dropped


class CountedPages:
    """Reads pages, and counts beside them as exactly as the query wants."""

    def __init__(self, health: HealthStatements) -> None:
        self._health = health
        self._worklists = KeptWorklists(health)
        self._kept: KeptAnswers[FleetCounts] = KeptAnswers(MAX_KEPT)

    async def load_page(self, allowed: Sequence[str] | None, query: HealthQuery) -> HealthPage:
        """Return a page. Its counts are of its snapshot, or from up to `counts_max_age` before."""
        max_age = self._find_max_age(allowed, query)
        if not query.with_counts or max_age <= 0:
            return await self._load_exact(allowed, query)
        counts, (page, changes) = await self._read(allowed, query, max_age)
        if changes != counts.changes:  # the counts are dropped now
            counts, (page, changes) = await self._read(allowed, query, max_age)
        age = (page.evaluated_at - counts.counted_at).total_seconds()
        if changes != counts.changes or age > max_age:
            return (await self._health.load_page(allowed, query)).page
        found = counts.by_fleet.get("") or to_counts({})
        return page._replace(counts=found, counted_at=counts.counted_at)

    async def _read(
        self, allowed: Sequence[str] | None, query: HealthQuery, max_age: float
    ) -> tuple[FleetCounts, ReadPage]:
        """Return counts, and then a page without any. One count serves all that wait for it.

        Counts that are not of the page's configuration are dropped.
        """
        question = configuration_key(allowed, query)
        count = partial(self._health.count, allowed, query, by_workspace=False)
        counts = await self._kept.find(question, max_age, count)
        bare = query._replace(with_counts=False)
        read = await self._worklists.load_page(
            allowed, bare, max_age
        ) or await self._health.load_page(allowed, bare)
        if read.changes != counts.changes:
            self._kept.drop(question, counts)
        return counts, read

    async def _load_exact(self, allowed: Sequence[str] | None, query: HealthQuery) -> HealthPage:
        """Return a page, with counts of its snapshot if the query wants counts.

        In a large fleet kept keys spare the second scan: a page from them is that of a scan.
        """
        devices = self._health.devices_of(allowed, query)
        if devices is not None and devices > EXACT_DEVICES:
            read = await self._worklists.load_page(allowed, query, MAX_COUNTS_AGE_SECONDS)
            if read is not None:
                return read.page
        return (await self._health.load_page(allowed, query)).page

    def _find_max_age(self, allowed: Sequence[str] | None, query: HealthQuery) -> float:
        if query.now is not None:
            return 0.0  # kept counts are of the present, and so may be later than the page
        if query.counts_max_age is not None:
            return query.counts_max_age
        devices = self._health.devices_of(allowed, query)
        return 0.0 if devices is None or devices <= EXACT_DEVICES else MAX_COUNTS_AGE_SECONDS
