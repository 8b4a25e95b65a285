"""What a shard exports: a whole scrape of a service that was built and not started."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import trio
from prometheus_client.parser import text_string_to_metric_families

from api.exposition import Exposition
from domain.health_state import State
from lastheard.families import AGE_BOUNDS
from lastheard.service import Service
from lastheard.settings import Settings
from ports.reads import FleetFigures
from storage.faults import DatabaseAway

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prometheus_client import CollectorRegistry, Metric

    from lastheard.metrics import Gatherer

DSN: Final = "postgresql://127.0.0.1/nowhere"
SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    "histogram": ("_bucket", "_count", "_sum"),
    "counter": ("_total",),
}


class FixedReads:
    """Figures of the database that a test chooses. None: the database is away."""

    def __init__(self, figures: FleetFigures | None) -> None:
        self.figures = figures
        self.asked: list[tuple[list[str], bool]] = []

    async def measure_fleet(
        self, workspaces: Sequence[str], *, age_bounds: Sequence[float], by_workspace: bool
    ) -> FleetFigures:
        await trio.lowlevel.checkpoint()
        self.asked.append((list(workspaces), by_workspace))
        if self.figures is None:
            raise DatabaseAway("it is away")
        return self.figures


def figures(**counts: Mapping[State, int]) -> FleetFigures:
    """Return figures of these workspaces, with two devices: 10 s and 400 s old."""
    ages = [0] * (len(AGE_BOUNDS) + 1)
    ages[0] = ages[4] = 1
    return FleetFigures(datetime(2026, 1, 1, tzinfo=UTC), counts, ages, 410.0)


def make_service() -> Service:
    return Service(Settings(dsn=DSN, shard_id="shard-1"), DSN)


def gatherer(service: Service, reads: FixedReads) -> Gatherer:
    return service.metrics.gatherer(service.totals, service.readiness, reads)


async def scrape(gather: Gatherer, accept: str = "") -> list[Metric]:
    """Return the families of one scrape, read from its text."""
    rendered = await Exposition(gather).render(accept)
    return list(text_string_to_metric_families(rendered.body.decode()))


async def exported_names() -> set[str]:
    """Return every name that a query may use: those without a series yet too."""
    reads = FixedReads(figures(north={State.HEALTHY: 2}))
    registry: CollectorRegistry = await gatherer(make_service(), reads)()
    return {
        metric.name + suffix
        for metric in registry.collect()
        for suffix in (*SUFFIXES.get(metric.type, ("",)), *_beside(metric))
    }


def _beside(metric: Metric) -> tuple[str, ...]:
    """Return the other endings of names that the samples of a family have."""
    return tuple({sample.name.removeprefix(metric.name) for sample in metric.samples})
