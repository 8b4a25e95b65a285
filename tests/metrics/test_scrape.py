"""A whole scrape: what it has, what it has while the database is away, and how it is bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from api.exposition import KEPT_SECONDS, Exposition
from domain.health_state import State
from lastheard.families import AGE_BOUNDS
from lastheard.metrics import FLEET_SECONDS
from tests.metrics.exported import FixedReads, figures, gatherer, make_service, scrape

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric
    from trio.testing import MockClock

HOSTILE = 'nor"th\n\\{evil="1"} 7'


def named(families: list[Metric], name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of this name: their label values in alphabetic order of the labels."""
    return {
        tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


async def test_a_scrape_has_every_part_of_the_process() -> None:
    found = await scrape(gatherer(make_service(), FixedReads(figures())))
    names = {family.name for family in found}
    assert {"process_cpu_seconds", "python_info", "lastheard_build_info"} <= names
    assert named(found, "lastheard_database_up") == {(): 1}
    assert set(named(found, "lastheard_lane_depth_updates")) == {("stream",), ("http",), ("poll",)}
    assert set(named(found, "lastheard_database_connections_limit")) == {
        (pool,) for pool in ("session", "ingest", "collecting", "api")
    }


async def test_states_are_shown_by_workspace_and_in_sum() -> None:
    fleet = figures(north={State.HEALTHY: 2, State.STALE: 1}, south={State.HEALTHY: 3})
    found = await scrape(gatherer(make_service(), FixedReads(fleet)))
    assert named(found, "lastheard_devices") == {("healthy",): 5, ("stale",): 1}
    assert named(found, "lastheard_workspace_devices") == {
        ("healthy", "north"): 2,
        ("stale", "north"): 1,
        ("healthy", "south"): 3,
    }


async def test_ages_are_buckets_of_what_is_now() -> None:
    found = await scrape(gatherer(make_service(), FixedReads(figures())))
    buckets = named(found, "lastheard_device_age_seconds_bucket")
    assert (buckets[("30.0",)], buckets[("300.0",)], buckets[("600.0",)]) == (1, 1, 2)
    assert buckets[("+Inf",)] == 2
    assert len(buckets) == len(AGE_BOUNDS) + 1


async def test_an_absent_database_leaves_the_other_figures() -> None:
    found = await scrape(gatherer(make_service(), FixedReads(None)))
    assert named(found, "lastheard_database_up") == {(): 0}
    assert named(found, "lastheard_devices") == {}
    assert named(found, "lastheard_leases_held") == {(): 0}


async def test_the_database_is_asked_once_in_a_while(autojump_clock: MockClock) -> None:
    reads = FixedReads(figures())
    gather = gatherer(make_service(), reads)
    await gather()
    await gather()
    assert len(reads.asked) == 1
    await trio.sleep(FLEET_SECONDS)
    await gather()
    assert len(reads.asked) == 2


async def test_hostile_labels_cannot_forge_a_line() -> None:
    service = make_service()
    service.metrics.measures.calls(1, HOSTILE, "ok")
    fleet = figures(**{HOSTILE: {State.HEALTHY: 1}})
    found = await scrape(gatherer(service, FixedReads(fleet)))
    assert named(found, "lastheard_workspace_devices") == {("healthy", HOSTILE): 1}
    assert named(found, "lastheard_provider_calls_total") == {(HOSTILE, "ok"): 1}


async def test_two_services_in_one_process_count_apart() -> None:
    first, second = make_service(), make_service()
    first.metrics.measures.cycles(1, "completed")
    found = await scrape(gatherer(second, FixedReads(figures())))
    assert named(found, "lastheard_cycles_total")[("completed",)] == 0


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0,*/*;q=0.1",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
        ),
        (
            "application/openmetrics-text;version=so\u00e9vil",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
        ),
    ],
)
async def test_the_form_follows_the_accept_header(accept: str, media_type: str) -> None:
    exposition = Exposition(gatherer(make_service(), FixedReads(figures())))
    rendered = await exposition.render(accept)
    assert rendered.media_type == media_type
    assert rendered.body.endswith(b"# EOF\n") == ("openmetrics" in accept)


async def test_scrapes_of_one_second_share_one_rendering(autojump_clock: MockClock) -> None:
    gathered = 0
    gather = gatherer(make_service(), FixedReads(figures()))

    async def count() -> CollectorRegistry:
        nonlocal gathered
        gathered += 1
        return await gather()

    exposition = Exposition(count)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(exposition.render, "")
    assert gathered == 1
    await trio.sleep(KEPT_SECONDS)
    await exposition.render("")
    assert gathered == 2
