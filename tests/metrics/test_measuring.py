"""Names, units and bounds of what is measured."""

from __future__ import annotations

import re

from prometheus_client import CollectorRegistry

from domain.health_state import State
from lastheard.measuring import MAX_HOSTS, OTHER, BoundedNames, make_measures
from tests.metrics.exported import FixedReads, figures, gatherer, make_service

PLAIN = re.compile(r"lastheard_[a-z]+(_[a-z]+)*")


def test_hosts_beyond_the_bound_are_counted_together() -> None:
    registry = CollectorRegistry()
    measures = make_measures(registry, ["api"])
    for number in range(MAX_HOSTS + 50):
        measures.calls(1, f"host-{number}.example", "ok")
    (family,) = [one for one in registry.collect() if one.name == "lastheard_provider_calls"]
    counts = {sample.labels["host"]: sample.value for sample in family.samples}
    assert len(counts) == MAX_HOSTS + 1
    assert counts[OTHER] == 50


def test_a_name_that_was_taken_keeps_its_place() -> None:
    names = BoundedNames(1)
    assert [names.bounded(name) for name in ("a", "b", "a")] == ["a", OTHER, "a"]


async def test_every_name_is_ours_has_a_text_and_no_odd_unit() -> None:
    reads = FixedReads(figures(north={State.HEALTHY: 1}))
    registry = await gatherer(make_service(), reads)()
    ours = [one for one in registry.collect() if one.name.startswith("lastheard_")]
    assert len(ours) > 60
    for family in ours:
        assert PLAIN.fullmatch(family.name), family.name
        assert family.documentation.endswith("."), family.name
        assert not re.search(r"_(ms|millis|minutes|days|kb|percent)(_|$)", family.name)


async def test_a_count_is_there_before_its_first_event() -> None:
    """A rate needs the value before it."""
    registry = await gatherer(make_service(), FixedReads(figures()))()
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
    }
    assert values[("lastheard_cycles_total", "missed")] == 0
    assert values[("lastheard_unit_failures_total", "poisoned")] == 0
    assert values[("lastheard_unit_duration_seconds_count",)] == 0
