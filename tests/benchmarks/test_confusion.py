"""The judge of the verdict run: the truth, the table and its bounds."""

from __future__ import annotations

import pytest

from benchmarks.confusion import Finding, Sample, judge, show
from benchmarks.truth import NO_CAUSE, Cause, Expectation, Limits, Truth, read_story

LIMITS = Limits()
BUS = ("harbour", "bus_0001")
SILENT = Cause("silent", "device", 100.0, None, is_shared=False)
OUTAGE = Cause("outage", "provider", 200.0, 300.0, is_shared=True)
PAUSED = Cause(
    "paused",
    "ours",
    400.0,
    430.0,
    is_shared=True,
    also=frozenset({"unknown"}),
    also_seconds=8.6,
)
LOOSE = Cause("loose_types", "provider", 0.0, None, is_shared=False, stops_data=False)


@pytest.mark.parametrize(
    ("causes", "at", "expected"),
    [
        ([SILENT], 150, Expectation("silent", frozenset({"device"}))),
        ([OUTAGE], 250, Expectation("outage", frozenset({"provider"}))),
        ([OUTAGE], 301, Expectation("outage", frozenset({"provider", "unknown"}))),
        ([OUTAGE], 350, Expectation(NO_CAUSE, frozenset({"ours", "unknown"}))),
        ([SILENT, OUTAGE], 250, Expectation("silent", frozenset({"device", "provider"}))),
        ([PAUSED], 401, Expectation("paused", frozenset({"ours", "unknown"}))),
        ([PAUSED], 420, Expectation("paused", frozenset({"ours"}))),
        ([LOOSE], 150, Expectation("loose_types", frozenset({"provider", "ours", "unknown"}))),
        ([LOOSE, OUTAGE], 250, Expectation("outage", frozenset({"provider"}))),
    ],
)
def test_the_truth_says_whom_to_name(causes: list[Cause], at: float, expected: Expectation) -> None:
    assert Truth(causes, LIMITS).expect(at) == expected


def test_a_story_is_read_by_vehicle() -> None:
    common = {"since": 1.0, "stops_data": True}
    episode = {**common, "cause": "silent", "party": "device", "until": None}
    account = {**common, "cause": "outage", "party": "provider", "until": 9.0}
    story = read_story(
        [{**episode, "vehicle_id": "bus_0001"}, {**account, "vehicle_id": None}], LIMITS
    )
    assert story == {
        "bus_0001": [Cause("silent", "device", 1.0, None, is_shared=False)],
        None: [Cause("outage", "provider", 1.0, 9.0, is_shared=True)],
    }


@pytest.mark.parametrize(
    ("cause", "party", "at", "parties"),
    [
        ("left_out", "customer", 10, {"customer", "device", "unknown"}),
        ("left_out", "customer", 60, {"customer"}),
        ("never", "device", 1000, {"device", "customer"}),
    ],
)
def test_some_causes_look_like_others(cause: str, party: str, at: float, parties: set[str]) -> None:
    episode = {
        "vehicle_id": "bus_0001",
        "cause": cause,
        "party": party,
        "since": 0.0,
        "until": None,
        "stops_data": True,
    }
    causes = read_story([episode], LIMITS)["bus_0001"]
    assert Truth(causes, LIMITS).expect(at).parties == parties


def late(
    begin: float, end: float, party: str, reason: str = "device_silent", state: str = "stale"
) -> list[Sample]:
    """A sample each two seconds."""
    return [
        Sample(float(at), BUS, state, reason, party, 6.0)
        for at in range(round(begin), round(end), 2)
    ]


def find(samples: list[Sample], *causes: Cause) -> Finding:
    return judge(samples, {BUS: Truth(causes, LIMITS)}, LIMITS)


def test_a_right_run_has_no_misses() -> None:
    found = find(late(100, 200, "device"), SILENT)
    assert (found.overall, list(found.misses)) == (1.0, [])
    assert [(row.cause, row.late, row.right) for row in found.rows] == [("silent", 100.0, 100.0)]


def test_wrong_blame_is_a_miss_of_its_cause() -> None:
    samples = late(200, 208, "device") + late(208, 300, "provider", "provider_outage")
    found = find(samples, OUTAGE)
    assert found.rows[0].by_party["device"] == 8.0
    assert found.misses[0].startswith("outage: 92.0% of 100 late device-seconds")
    assert list(found.wrong) == [("outage", "stale", "device_silent", 8.0)]


def test_blame_may_last_as_long_as_due_and_no_longer() -> None:
    def blamed(seconds: float) -> list[str]:
        others = late(200 + seconds, 300, "provider", "provider_outage")
        misses = find(late(200, 200 + seconds, "device") + others, OUTAGE).misses
        return [miss for miss in misses if "was blamed" in miss]

    assert blamed(8) == []
    assert blamed(10) == [
        "harbour/bus_0001 was blamed for 8 s for the fault of another side, longer than 6.6 s"
    ]


def test_fresh_devices_are_not_counted() -> None:
    assert find(late(100, 200, "none", "reporting", "healthy"), SILENT).rows == []


def test_a_restless_reason_is_found() -> None:
    samples = late(100, 200, "device")
    for at in range(170, 200, 4):
        samples += [Sample(at + 1.0, BUS, "stale", "no_answer_yet", "unknown", 6.0)]
    found = find(samples, SILENT)
    assert [device for device, _ in found.restless] == [BUS]
    assert any("change their reason" in miss for miss in found.misses)


def test_a_change_after_a_change_of_truth_is_explained() -> None:
    samples = late(200, 300, "provider", "provider_outage") + late(300, 310, "unknown", "other")
    assert find(samples, OUTAGE).restless == []


def test_late_devices_without_a_cause_are_a_miss() -> None:
    found = find(late(600, 700, "unknown"), OUTAGE)
    assert found.overall == 1.0
    assert "have no cause" in found.misses[0]


def test_a_long_gap_between_samples_counts_little() -> None:
    samples = [
        Sample(100.0, BUS, "stale", "x", "device", 6.0),
        Sample(190.0, BUS, "stale", "x", "device", 6.0),
    ]
    assert find(samples, SILENT).rows[0].late == 10.0


def test_the_table_names_every_side() -> None:
    text = show(find(late(100, 200, "device"), SILENT))
    assert text.splitlines()[0].split() == [
        *("cause", "late", "s", "ours", "provider", "customer"),
        *("device", "unknown", "none", "right"),
    ]
    assert text.splitlines()[1].split() == [
        *("silent", "100", "0", "0", "0", "100", "0", "0", "100.0%"),
    ]
