"""The comparison of core with the legacy system."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.parity import (
    DeviceView,
    ParityCounts,
    ParityFinding,
    ParityVerdict,
    ShownValue,
    compare,
    count,
    metres_between,
    pool,
    within_tolerance,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
INTERVAL = 300.0


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def view(
    signal: str,
    value: object,
    observed: float | None,
    *,
    since: float | None = None,
    received: float | None = None,
) -> DeviceView:
    shown = ShownValue(
        value,  # type: ignore[arg-type]
        None if observed is None else ago(observed),
        None if since is None else ago(since),
    )
    at = observed if received is None else received
    return DeviceView({signal: shown}, None if at is None else ago(at))


UNHEARD = DeviceView({}, None)
SOC = view("soc_percent", 50.0, 10, since=10)


@pytest.mark.parametrize(
    ("core", "legacy", "verdict"),
    [
        (None, SOC, ParityVerdict.MISSING_HERE),
        (UNHEARD, SOC, ParityVerdict.MISSING_HERE),
        (SOC, None, ParityVerdict.MISSING_THERE),
        (SOC, UNHEARD, ParityVerdict.MISSING_THERE),
        (None, None, ParityVerdict.MISSING_HERE),
        (UNHEARD, UNHEARD, ParityVerdict.EQUAL),
        (UNHEARD, None, ParityVerdict.MISSING_THERE),
        (SOC, SOC._replace(is_readable=False), ParityVerdict.INCOMPARABLE),
        (None, SOC._replace(is_readable=False), ParityVerdict.INCOMPARABLE),
        (SOC, SOC, ParityVerdict.EQUAL),
    ],
)
def test_a_device_that_one_side_lacks(
    core: DeviceView | None, legacy: DeviceView | None, verdict: ParityVerdict
) -> None:
    assert compare(core, legacy, INTERVAL).verdict is verdict


@pytest.mark.parametrize(
    ("behind", "verdict"),
    [
        (0, ParityVerdict.EQUAL),
        (360, ParityVerdict.EQUAL),  # an interval and 60 s, exactly
        (361, ParityVerdict.OLDER),
        (-10_000, ParityVerdict.EQUAL),  # the legacy system lags: no fault of core's
    ],
)
def test_core_is_older_by_an_interval_and_a_minute(behind: float, verdict: ParityVerdict) -> None:
    core, legacy = view("speed_kmh", 5.0, 20_000 + behind), view("speed_kmh", 5.0, 20_000)
    assert compare(core, legacy, INTERVAL).verdict is verdict


def test_receipts_tell_the_age_where_one_side_states_no_times() -> None:
    core = view("speed_kmh", 5.0, 10, received=400)
    legacy = view("speed_kmh", 5.0, None, received=20)
    assert compare(core, legacy, INTERVAL).verdict is ParityVerdict.OLDER


@pytest.mark.parametrize(
    ("since", "observed", "theirs", "verdict"),
    [
        (100, 10, 50, ParityVerdict.DIFFERENT),  # unchanged over the time that legacy states
        (100, 10, 100, ParityVerdict.DIFFERENT),
        (100, 10, 10, ParityVerdict.DIFFERENT),
        (100, 10, 101, ParityVerdict.EQUAL),  # core showed something else then: not comparable
        (100, 10, 9, ParityVerdict.EQUAL),  # legacy has news that core may not have yet
        (10.4, 10.4, 11, ParityVerdict.DIFFERENT),  # legacy cuts off fractions
        (11, 11, 10.4, ParityVerdict.DIFFERENT),  # core's vendor does
        (10.4, 10.4, 12, ParityVerdict.EQUAL),  # a vehicle that sends each second: the one before
        (10.4, 10.4, 10, ParityVerdict.EQUAL),  # and the one after
        (10.4, 10.4, 10.6, ParityVerdict.EQUAL),  # one that sends more often
        (10.4, 10.4, 10.4004, ParityVerdict.EQUAL),
        (10.3996, 10.3996, 10.4, ParityVerdict.DIFFERENT),  # legacy cuts off microseconds
        (None, 10, 10, ParityVerdict.DIFFERENT),
        (None, 10, 20, ParityVerdict.EQUAL),  # since when core shows it is not known
    ],
)
def test_a_value_differs_only_where_core_showed_it_then(
    since: float | None, observed: float, theirs: float, verdict: ParityVerdict
) -> None:
    core = view("soc_percent", 50.0, observed, since=since)
    assert compare(core, view("soc_percent", 90.0, theirs), INTERVAL).verdict is verdict


@pytest.mark.parametrize(
    ("received", "verdict"),
    [(500, ParityVerdict.DIFFERENT), (610, ParityVerdict.DIFFERENT), (611, ParityVerdict.EQUAL)],
)
def test_receipts_serve_where_legacy_states_no_times(
    received: float, verdict: ParityVerdict
) -> None:
    core = view("soc_percent", 50.0, 10, since=5_000)
    legacy = view("soc_percent", 90.0, None, received=received)
    assert compare(core, legacy, INTERVAL).verdict is verdict


@pytest.mark.parametrize(
    ("signal", "ours", "theirs", "equal"),
    [
        ("soc_percent", 50.0, 51.0, True),
        ("soc_percent", 50.0, 51.01, False),
        ("soc_percent", 80, 0.8, False),  # another unit
        ("odometer_km", 1000.0, 999.0, True),
        ("odometer_km", 1000.0, 998.9, False),
        ("position", (52.0, 5.0), (52.0004, 5.0), True),  # 44 m
        ("position", (52.0, 5.0), (52.0005, 5.0), False),  # 56 m
        ("position", (52.0, 179.9999), (52.0, -179.9999), True),
        ("heading_deg", 359.9, 0.1, True),
        ("heading_deg", 90.0, 92.0, False),
        ("speed_kmh", 43.27, 43.0, True),
        ("speed_kmh", 43.27, 42.0, False),
        ("total_energy_used_kwh", 100_000.0, 100_900.0, True),
        ("charging", True, True, True),
        ("charging", True, False, False),
        ("charging", True, 1, None),
        ("charging_status", "CHARGING", "CHARGING", True),
        ("charging_status", "CHARGING", "DONE", False),
        ("charging_complete_at", "2026-05-01T12:00:00Z", "2026-05-01T12:01:00+00:00", True),
        ("charging_complete_at", "2026-05-01T12:00:00Z", "2026-05-01T12:01:01Z", False),
        ("charging_complete_at", "2026-05-01T12:00:00Z", "2026-05-01T12:00:00", False),
        ("charging_complete_at", "soon", "later", False),
        ("soc_percent", 50.0, "50", None),
    ],
)
def test_values_agree_within_their_tolerance(
    signal: str, ours: object, theirs: object, equal: bool | None
) -> None:
    assert within_tolerance(signal, ours, theirs) is equal  # type: ignore[arg-type]
    assert within_tolerance(signal, theirs, ours) is equal  # type: ignore[arg-type]


def test_a_difference_names_the_signal_and_both_values() -> None:
    found = compare(SOC, view("soc_percent", 70.0, 10), INTERVAL)
    assert found == ParityFinding(ParityVerdict.DIFFERENT, "soc_percent", "50.0", "70.0")


def test_two_systems_without_a_signal_in_common_prove_nothing() -> None:
    found = compare(SOC, view("odometer_km", 7.0, 10), INTERVAL)
    assert found.verdict is ParityVerdict.INCOMPARABLE


latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)


@given(st.tuples(latitudes, longitudes), st.tuples(latitudes, longitudes))
def test_distances_are_symmetric_and_within_half_the_earth(
    one: tuple[float, float], other: tuple[float, float]
) -> None:
    there = metres_between(one, other)
    assert there == pytest.approx(metres_between(other, one), abs=1e-6)
    assert 0 <= there <= 20_015_200
    assert metres_between(one, one) == 0


verdicts = st.lists(st.sampled_from(ParityVerdict), max_size=40)


@given(st.lists(verdicts, max_size=5))
def test_the_counts_of_cycles_are_those_of_their_devices(
    cycles: list[list[ParityVerdict]],
) -> None:
    pooled = pool(count(map(ParityFinding, cycle)) for cycle in cycles)
    flat = [verdict for cycle in cycles for verdict in cycle]
    bad = [one for one in flat if one not in {ParityVerdict.EQUAL, ParityVerdict.INCOMPARABLE}]
    comparable = [one for one in flat if one is not ParityVerdict.INCOMPARABLE]
    assert pooled.devices == len(flat)
    assert pooled.mismatched == len(bad)
    assert pooled.comparable == len(comparable)
    assert pooled.mismatch_share == (len(bad) / len(comparable) if comparable else None)


def test_a_fleet_without_devices_is_not_comparable() -> None:
    assert ParityCounts(0, {}).comparable_share == 0
    assert ParityCounts(0, {}).mismatch_share is None
