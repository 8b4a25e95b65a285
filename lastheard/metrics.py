"""The metrics of one process: a registry of its own, and how it is brought up to date for a scrape.

Owns when the database is asked, and what a scrape shows while it is away. Everything is gathered on
the event loop, where nothing changes meanwhile; the text is made from it in a thread
(api/exposition.py).
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Final, Protocol

import trio
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.registry import Collector

from lastheard.families import AGE_BOUNDS, Scraped, families
from lastheard.measuring import make_measures
from runtime.faults import EnvironmentFault
from storage.migrations import EXPECTED_VERSION
from storage.pools import POOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client import Metric

    from lastheard.process_statistics import ProcessTotals
    from ports.reads import FleetFigures

MAX_WORKSPACES: Final = 200  # with states of their own; a shard with more shows totals only
FLEET_SECONDS: Final = 5.0  # for so long an answer of the database is shown
FLEET_DEADLINE_SECONDS: Final = 3.0  # within the deadline of a scrape


class FleetReads(Protocol):
    """The one query of a scrape, as of `ports.reads.Reads`."""

    async def measure_fleet(
        self, workspaces: Sequence[str], *, age_bounds: Sequence[float], by_workspace: bool
    ) -> FleetFigures: ...


class ServiceMetrics:
    """The registry of one process, with all that it shows. `measures` is for its parts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.measures = make_measures(self._registry, POOLS)
        self._current = _Current()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._registry.register(self._current)

    def gatherer(
        self,
        totals: Callable[[], ProcessTotals],
        checks: Callable[[], Mapping[str, bool]],
        reads: FleetReads,
    ) -> Gatherer:
        """Return what fills the registry from these parts."""
        return Gatherer(self._registry, self._current, totals, checks, reads)


class Gatherer:
    """Brings the registry up to date. Call one at a time."""

    def __init__(
        self,
        registry: CollectorRegistry,
        current: _Current,
        totals: Callable[[], ProcessTotals],
        checks: Callable[[], Mapping[str, bool]],
        reads: FleetReads,
    ) -> None:
        self._registry = registry
        self._current = current
        self._totals = totals
        self._checks = checks
        self._reads = reads
        self._asked_at = -FLEET_SECONDS
        self._fleet: FleetFigures | None = None
        self._by_workspace = False
        self._version = version("lastheard")

    async def __call__(self) -> CollectorRegistry:
        """Read all totals, and ask the database unless its answer is young.

        Waits FLEET_DEADLINE_SECONDS at most. Without an answer, the figures of devices are missing
        and `lastheard_database_up` is 0; the others are there.
        """
        totals = self._totals()
        await self._ask_database(sorted(totals.owned.workspaces))
        self._current.newest = Scraped(
            totals=totals,
            checks=self._checks(),
            fleet=self._fleet,
            by_workspace=self._by_workspace,
            database_is_up=self._fleet is not None,
            version=self._version,
            schema_revision=EXPECTED_VERSION,
        )
        return self._registry

    async def _ask_database(self, owned: list[str]) -> None:
        """Ask for the states and ages of the devices of this shard's workspaces."""
        if self._fleet is not None and trio.current_time() - self._asked_at < FLEET_SECONDS:
            return
        self._fleet, self._by_workspace = None, len(owned) <= MAX_WORKSPACES
        self._asked_at = trio.current_time()
        with trio.move_on_after(FLEET_DEADLINE_SECONDS):
            try:
                self._fleet = await self._reads.measure_fleet(
                    owned, age_bounds=AGE_BOUNDS, by_workspace=self._by_workspace
                )
            except EnvironmentFault:
                return


class _Current(Collector):
    """Shows the newest snapshot. It is replaced as a whole, so a thread may read it."""

    def __init__(self) -> None:
        self.newest: Scraped | None = None

    def collect(self) -> Iterable[Metric]:
        return () if self.newest is None else families(self.newest)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the registry need not know the names in advance."""
        return ()
