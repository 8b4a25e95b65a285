"""Positions: two halves of one instant are judged together, on every path."""

from __future__ import annotations

from typing import Any

import pytest

from domain.acceptance import judge
from domain.held import name_values
from domain.model import Dropped, Outcome, Reading, Reason
from domain.position import pair_positions
from tests.domain.fixtures import NOW, ago, fold, reading, update, values_of

NORTH, EAST = reading("latitude_deg", 52.09), reading("longitude_deg", 5.11)
HERE = reading("position", (52.09, 5.11))


@pytest.mark.parametrize(
    ("readings", "paired"),
    [
        ([NORTH, EAST], [HERE]),
        ([EAST, reading("soc_percent", 5), NORTH], [HERE, reading("soc_percent", 5)]),
        ([NORTH], [NORTH]),
        ([NORTH, reading("longitude_deg", 5.11, ago(seconds=1))], None),
        ([NORTH, NORTH, EAST], [HERE, NORTH]),
        ([], []),
    ],
)
def test_halves_of_one_instant_become_one(readings: list[Reading], paired: Any) -> None:
    assert pair_positions(readings) == tuple(readings if paired is None else paired)


@pytest.mark.parametrize(
    ("latitude", "longitude", "reason"),
    [
        (48.2, 655.35, Reason.INVALID),
        (-91, 5.1, Reason.INVALID),
        (float("nan"), 5.1, Reason.INVALID),
        ("52.1", 5.1, Reason.INVALID),
        (0, 0, Reason.NOT_AVAILABLE),
        (0.0, -0.0, Reason.NOT_AVAILABLE),
        (48.2, 214.7483647, Reason.NOT_AVAILABLE),
        (219.4967295, 219.4967295, Reason.NOT_AVAILABLE),
    ],
)
def test_one_bad_half_refuses_the_position(latitude: Any, longitude: Any, reason: Reason) -> None:
    device = fold(document={"position": ((52.09, 5.11), ago(minutes=1))})
    halves = [reading("latitude_deg", latitude), reading("longitude_deg", longitude)]

    result = judge(update(*pair_positions(halves)), device)

    assert (result.outcome, result.reason) == (Outcome.REJECTED, reason)
    assert [(item.signal, item.reason) for item in result.dropped] == [
        ("latitude_deg", reason),
        ("longitude_deg", reason),
    ]
    assert values_of(device) == {"position": ((52.09, 5.11), ago(minutes=1))}


def test_half_a_position_is_invalid_and_named() -> None:
    result = judge(update(NORTH, reading("speed_kmh", 30)), fold())
    why = "half a position: no longitude_deg of the same time"
    assert result.outcome is Outcome.ACCEPTED
    assert result.dropped == (Dropped("latitude_deg", Reason.INVALID, why),)


def test_a_position_too_far_ahead_is_refused_as_one() -> None:
    device = fold()
    result = judge(update(HERE._replace(observed_at=ago(hours=-1))), device)
    assert [item.reason for item in result.dropped] == [Reason.FUTURE_TIMESTAMP] * 2
    assert device.document == {}


def test_the_newer_position_stays_whole() -> None:
    device = fold(document={"position": ((52.09, 5.11), NOW)})
    halves = [reading("latitude_deg", 1.0, ago(hours=1)), reading("longitude_deg", 2.0, NOW)]
    judge(update(*pair_positions(halves)), device)
    judge(update(reading("position", (1.0, 2.0), ago(hours=1))), device)
    assert values_of(device) == {"position": ((52.09, 5.11), NOW)}


def test_a_contradicting_position_names_both_halves() -> None:
    device = fold(document={"position": ((52.09, 5.11), NOW)})
    result = judge(update(reading("position", (52.09, 5.2))), device)
    assert (result.outcome, result.conflicts) == (
        Outcome.CONFLICT,
        ("latitude_deg", "longitude_deg"),
    )


def test_the_equator_and_greenwich_are_places() -> None:
    for pair in [(0.0, 5.1), (52.1, 0.0), (0, 5)]:
        device = fold()
        judge(update(reading("position", pair)), device)
        assert values_of(device) == {"position": (pair, NOW)}


def test_on_the_wire_a_position_is_two_values_of_one_time() -> None:
    device = fold()
    judge(update(HERE), device)
    named = name_values(device.document)
    assert {name: held.value for name, held in named.items()} == {
        "latitude_deg": 52.09,
        "longitude_deg": 5.11,
    }
    assert named["latitude_deg"].stated == named["longitude_deg"].stated
