"""The indicators of a workspace over HTTP, against a truth that is computed another way."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

import pytest

from api.app import create_app
from storage.indicators import PostgresIndicators
from tests.api.harness import BUSES
from tests.api.seeded_hour import play

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.api.harness import Harness
    from tests.api.seeded_hour import Truth

PATH = "/workspaces/north/indicators"


def nearest_rank(values: Sequence[float], share: float) -> float:
    return sorted(values)[ceil(share * len(values)) - 1]


def assert_percentiles(shown: Any, values: Sequence[float]) -> None:
    """Each shown percentile is the upper limit of a bucket of 16% around the true one."""
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
        true, told = nearest_rank(values, share), shown[f"{name}_seconds"]
        assert true <= told <= max(0.001, true * 1.1539), (name, true, told)


def share(part: float, whole: float) -> Any:
    return pytest.approx(part / whole, abs=1e-6)


def assert_truth(shown: Any, truth: Truth) -> None:
    samples = len(truth.ends)
    devices = samples * len(BUSES)
    assert shown["cycles"]["outcomes"] == dict(truth.outcomes)
    assert shown["cycles"]["slots"] == samples
    assert shown["cycles"]["success_share"] == share(truth.outcomes["completed"], samples)
    assert_percentiles(shown["cycles"]["duration"], truth.durations)
    assert shown["objective"]["samples"] == samples
    assert shown["objective"]["fresh_share"] == share(sum(truth.fresh), devices)
    assert shown["coverage"]["cycle_share"] == share(sum(truth.updated), devices)
    assert shown["updates"]["accepted"] == len(truth.arrivals)
    assert shown["updates"]["duplicates"] == samples
    refused = {
        (one["reason"], one["signal"]): one["occurrences"] for one in shown["updates"]["refused"]
    }
    assert refused == dict(truth.refused)
    assert_percentiles(shown["lag"]["observed_to_received"], truth.lags)
    assert_percentiles(shown["lag"]["observed_to_provider"], truth.provider_lags)
    behind = [lag - provider for lag, provider in zip(truth.lags, truth.provider_lags, strict=True)]
    assert_percentiles(shown["lag"]["provider_to_received"], behind)
    assert_percentiles(shown["lag"]["observed_to_committed"], truth.lags)
    (stream,) = shown["streams"]
    assert stream["known_seconds"] == 300.0 * samples
    assert stream["open_share"] == share(truth.open_seconds, 300 * samples)
    assert shown["coalescing"] == {
        "frames": 40 * samples,
        "frame_updates": 10 * samples,
        "frames_per_update": 4.0,
        "records": 9 * samples,
        "record_updates": 3 * samples,
        "records_per_update": 3.0,
    }


@pytest.mark.parametrize("seed", [1, 2])
async def test_fr_009_indicators_of_a_seeded_hour_are_its_truth(
    harness: Harness, seed: int
) -> None:
    truth = await play(harness, seed)
    shown = await harness.get(f"{PATH}?from=2026-05-01T12:00:00Z")
    assert (shown["begins_at"], shown["ends_at"]) == (
        "2026-05-01T12:00:00Z",
        "2026-05-01T13:00:00Z",
    )
    assert_truth(shown, truth)
    assert shown["hours_missing"] == 0


async def test_acceptance_11_freshness_now_is_exact(harness: Harness) -> None:
    for bus, wait in (("bus-1", 200.0), ("bus-2", 90.5)):
        await harness.report(bus, soc_percent=50.0)
        harness.let_pass(wait)
    assert (await harness.get(PATH))["freshness"] == {
        "evaluated_at": "2026-05-01T12:04:50.500000Z",
        "freshness_target_seconds": 300.0,
        "active_devices": 3,
        "heard_devices": 2,
        "fresh_devices": 2,
        "fresh_share": 0.666667,
        "age": {
            "p50_seconds": 90.5,
            "p90_seconds": 290.5,
            "p95_seconds": 290.5,
            "p99_seconds": 290.5,
        },
        "oldest_age_seconds": 290.5,
    }


async def test_acceptance_11_without_data_every_share_is_null(harness: Harness) -> None:
    shown = await harness.get(f"{PATH}?from=2026-05-01T10:30:00Z")
    nothing = {f"p{rank}_seconds": None for rank in (50, 90, 95, 99)}
    assert shown["freshness"]["age"] == nothing
    assert shown["freshness"]["fresh_share"] == 0.0  # three devices are active, none is fresh
    assert shown["objective"]["fresh_share"] is None
    assert [one["burn_rate"] for one in shown["objective"]["burn_rates"]] == [None] * 3
    assert shown["cycles"] == {
        "outcomes": {},
        "slots": 0,
        "completed_slots": 0,
        "success_share": None,
        "duration": nothing,
    }
    assert shown["coverage"]["cycle_share"] is None
    assert shown["updates"] == {"accepted": 0, "duplicates": 0, "refused": []}
    assert shown["streams"] == []
    assert shown["lag"]["observed_to_committed"] == nothing
    assert shown["coalescing"]["frames_per_update"] is None


async def test_fr_009_burn_rates_look_back_from_the_end(harness: Harness) -> None:
    """Two hours without a fresh device, then one with all of them."""
    for _ in range(2):
        for _ in range(12):
            await harness.run_cycle()
            harness.let_pass(300)
    for _ in range(12):
        for bus in BUSES:
            await harness.report(bus, soc_percent=50.0)
        await harness.run_cycle()
        harness.let_pass(300)
    burnt = (await harness.get(PATH))["objective"]["burn_rates"]
    assert [(one["window_seconds"], one["samples"], one["burn_rate"]) for one in burnt] == [
        (3600, 11, 0.0),  # by the beginnings of slots, the first of which is before the hour
        (21_600, 36, pytest.approx(2 / 3 / 0.05, abs=1e-3)),
        (259_200, 36, pytest.approx(2 / 3 / 0.05, abs=1e-3)),
    ]


async def test_sc_13_a_missed_slot_does_not_hide_silent_devices(harness: Harness) -> None:
    """Bus 1 reports all the time; the others fall silent. Both slots were missed."""
    for bus in BUSES:
        await harness.report(bus, soc_percent=50.0)
    slots = []
    for _ in range(2):
        harness.let_pass(250)
        await harness.report("bus-1", soc_percent=50.0)
        harness.let_pass(60)
        slots.append(harness.clock.now())
    harness.let_pass(60)
    for bus in BUSES:  # what comes afterwards makes the missed slots no better
        await harness.report(bus, soc_percent=51.0)
    await harness.stores.cycles.record_missed(harness.session, "north", slots)
    shown = await harness.get(PATH)
    assert shown["objective"]["samples"] == 2
    assert shown["objective"]["fresh_share"] == share(2, 6)
    assert shown["cycles"]["outcomes"] == {"missed": 2}
    assert shown["cycles"]["success_share"] == 0.0


async def test_retired_devices_do_not_count(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50.0)
    await harness.stores.registry.retire_device("north", "bus-3")
    harness.let_pass(250)  # the slot begins within the workspace's life
    await harness.run_cycle()
    shown = await harness.get(PATH)
    assert shown["freshness"]["active_devices"] == 2
    assert shown["objective"]["fresh_share"] == 0.5
    assert shown["coverage"]["covered_share"] == 0.5


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("from=yesterday", "from"),
        ("to=1", "to"),
        ("from=2026-05-01T13:00:00Z", "from"),
        ("from=2026-05-01T11:00:00Z&to=2026-05-01T11:00:00Z", "from"),
        ("from=2026-01-01T11:00:00Z", "from"),
        ("to=2026-01-01T11:00:00Z", "to"),
        ("since=2026-05-01T11:00:00Z", "since"),
    ],
)
async def test_a_bad_span_is_refused_with_its_parameter(
    harness: Harness, query: str, parameter: str
) -> None:
    answer = await harness.ask("GET", f"{PATH}?{query}")
    assert (answer.status, answer.problem) == (400, "invalid-parameter")
    assert answer.pointers == [parameter]
    assert answer.json["errors"][0]["detail"]


async def test_fr_009_two_shards_give_the_same_answer(harness: Harness) -> None:
    await play(harness, 3, slots=4)
    other = PostgresIndicators(harness.stores.reads._database)  # type: ignore[attr-defined]
    client = create_app(harness.make_services(indicators=other)).test_client()
    headers = {"Authorization": f"Bearer {harness.tokens['all']}"}
    response = await client.get(f"/api/telematics-mvp{PATH}", headers=headers)
    mine = await harness.ask("GET", PATH)
    assert await response.get_data() == mine.body
