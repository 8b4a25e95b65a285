"""The flag, the shares and the chosen vehicles."""

from __future__ import annotations

from collections import Counter

import pytest

from simulator.chance import draw
from simulator.faults import (
    NO_FAULTS,
    AnswerFault,
    Faults,
    FaultsInvalid,
    FrameFault,
    answer_fault,
    describe_faults,
    frame_fault,
    is_abrupt,
    parse_faults,
    seconds_to_disconnect,
)
from simulator.manners import assign_reporting
from simulator.reporting import Reporting

FLEET = [f"bus_{number:04d}" for number in range(1, 41)]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", NO_FAULTS),
        ("duplicates=0.05", Faults(duplicates=0.05)),
        (
            " duplicates=0.05, malformed=0.01,disconnect_every=30,latency=2,http_500=0.02 ",
            Faults(duplicates=0.05, malformed=0.01, disconnect_every=30, latency=2, http_500=0.02),
        ),
        (
            "future=1,vehicles=bus_0001+bus_0002",
            Faults(future=1, vehicles=("bus_0001", "bus_0002")),
        ),
    ],
)
def test_a_flag_is_read(text: str, faults: Faults) -> None:
    assert parse_faults(text) == faults


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "duplicate=0.05",
            "unknown fault 'duplicate'. Did you mean 'duplicates'? Allowed: bad_bytes",
        ),
        ("gremlins=1", "unknown fault 'gremlins'. Allowed:"),
        ("duplicates", "written name=value"),
        ("duplicates=many", "duplicates='many': a number is needed"),
        ("duplicates=5", "duplicates=5 is a fraction and must lie between 0 and 1"),
        ("duplicates=nan", "must lie between 0 and 1"),
        ("latency=-1", "latency=-1 is in seconds and must not be negative"),
        ("duplicates=0.6,malformed=0.6", "the fractions of frame faults add up to more than 1"),
        ("http_500=0.6,http_drop=0.6", "the fractions of answer faults add up to more than 1"),
    ],
)
def test_a_wrong_flag_is_explained(text: str, complaint: str) -> None:
    with pytest.raises(FaultsInvalid) as raised:
        parse_faults(text)
    assert complaint in str(raised.value)


def test_every_fault_is_described() -> None:
    assert "late_seconds (seconds): how often the bursts come" in describe_faults()


def test_the_shares_of_frames_are_kept() -> None:
    faults = Faults(duplicates=0.05, out_of_order=0.02, malformed=0.01)
    met = Counter(
        frame_fault(faults, 7, signal, turn) for signal in range(100) for turn in range(1000)
    )
    shares = {fault: count / 100_000 for fault, count in met.items() if fault is not None}
    assert shares == {
        FrameFault.DUPLICATE: pytest.approx(0.05, rel=0.1),
        FrameFault.OUT_OF_ORDER: pytest.approx(0.02, rel=0.1),
        FrameFault.MALFORMED: pytest.approx(0.01, rel=0.15),
    }


def test_a_seed_decides_which_frames_are_spoilt() -> None:
    faults = Faults(duplicates=0.5)
    fates = [[frame_fault(faults, seed, 3, turn) for turn in range(100)] for seed in (7, 7, 8)]
    assert fates[0] == fates[1] != fates[2]


def test_certain_faults_are_certain_and_absent_ones_never_come() -> None:
    assert {answer_fault(Faults(http_429=1.0), 7, number) for number in range(100)} == {
        AnswerFault.TOO_MANY
    }
    assert {answer_fault(NO_FAULTS, 7, number) for number in range(100)} == {None}


def test_the_draws_are_spread_over_the_unit_interval() -> None:
    tenths = Counter(
        int(draw(7, subject, turn) * 10) for subject in range(-4, 96) for turn in range(100)
    )
    assert set(tenths) == set(range(10))
    assert all(850 < count < 1150 for count in tenths.values())


def test_misbehaving_vehicles_are_exact_counts_and_disjoint() -> None:
    faults = Faults(never=0.05, silent=0.1, rhythm=0.1, signal_stops=0.1, late=0.05, silent_for=25)
    chosen = assign_reporting(faults, 7, FLEET)
    assert Counter(chosen.values()) == {
        Reporting(never=True): 2,
        Reporting(silent_after_seconds=15, silent_until_seconds=40): 4,
        Reporting(every_seconds=20): 4,
        Reporting(stopped_labels=(("soc", 10.0),)): 4,
        Reporting(late_seconds=10): 2,
    }


def test_a_small_fraction_of_a_small_fleet_is_one_vehicle() -> None:
    assert len(assign_reporting(Faults(never=0.001), 7, FLEET)) == 1
    assert assign_reporting(NO_FAULTS, 7, FLEET) == {}


def test_only_named_vehicles_misbehave() -> None:
    faults = Faults(never=1.0, vehicles=("bus_0003",))
    assert set(assign_reporting(faults, 7, FLEET)) == {"bus_0003"}


def test_streams_live_about_as_long_as_asked() -> None:
    lives = [
        seconds_to_disconnect(Faults(disconnect_every=30), 7, number) for number in range(1000)
    ]
    assert min(lives) >= 15
    assert max(lives) <= 45
    assert sum(lives) / 1000 == pytest.approx(30, rel=0.05)
    assert seconds_to_disconnect(NO_FAULTS, 7, 1) == float("inf")


def test_about_half_of_the_ends_are_abrupt() -> None:
    abrupt = sum(is_abrupt(NO_FAULTS, 7, number) for number in range(1000))
    assert 420 < abrupt < 580


def test_the_window_opens_and_closes() -> None:
    faults = Faults(starts_at=10, ends_at=60)
    assert [faults.is_active(at) for at in (9.9, 10, 59.9, 60)] == [False, True, True, False]
