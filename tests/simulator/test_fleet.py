"""The buses' physics: pure tables over a day."""

from __future__ import annotations

import pytest

from simulator.fleet import (
    SECONDS_PER_DAY,
    VIN_ALPHABET,
    Bus,
    Duty,
    Mode,
    VehicleSpec,
    is_vin,
    make_vin,
)
from tests.simulator.conftest import NOON

DAY = [NOON + step * 7.0 for step in range(int(SECONDS_PER_DAY / 7))]


def bus(number: int = 1, duty: Duty = Duty.LINE, seed: int = 7) -> Bus:
    return Bus(seed, VehicleSpec(f"bus_{number:04d}", "1001", duty=duty))


@pytest.mark.parametrize("number", range(1, 6))
def test_a_day_on_the_line_is_plausible(number: int) -> None:
    one = bus(number)
    assert {one.mode(at) for at in DAY} == set(Mode)
    assert all(10 <= one.soc(at) <= 100 for at in DAY)
    assert all(0 <= one.speed_kmh(at) <= 60 for at in DAY)
    assert 150 < one.odo_km(DAY[-1]) - one.odo_km(DAY[0]) < 500


@pytest.mark.parametrize("number", range(1, 6))
def test_the_odometer_and_the_energy_counter_never_fall(number: int) -> None:
    one = bus(number)
    odometer, energy = [one.odo_km(at) for at in DAY], [one.total_energy_kwh(at) for at in DAY]
    assert odometer == sorted(odometer)
    assert energy == sorted(energy)


def test_the_charge_falls_while_driving_and_rises_while_charging() -> None:
    one = bus()
    falls = [
        (one.soc(at), one.soc(at + 7))
        for at in DAY
        if one.mode(at) is one.mode(at + 7) is Mode.DRIVING
    ]
    rises = [
        (one.soc(at), one.soc(at + 7))
        for at in DAY
        if one.mode(at) is one.mode(at + 7) is Mode.CHARGING
    ]
    assert all(after <= before for before, after in falls)
    assert all(after >= before for before, after in rises)
    assert max(before - after for before, after in falls) < 2
    assert sum(after - before for before, after in rises) > 20


def test_power_is_negative_exactly_while_charging() -> None:
    one = bus()
    assert all((one.power_kw(at) < 0) == (one.mode(at) is Mode.CHARGING) for at in DAY)


def test_what_the_odometer_gains_is_what_the_speed_adds_up_to() -> None:
    one = bus()
    start = next(at for at in DAY if one.mode(at) is one.mode(at + 600) is Mode.DRIVING)
    driven = sum(one.speed_kmh(start + second) / 3600 for second in range(600))
    assert one.odo_km(start + 600) - one.odo_km(start) == pytest.approx(driven, abs=0.05)


def test_a_driving_bus_moves_and_stays_in_its_town() -> None:
    one = bus()
    places = {one.position(at) for at in DAY}
    latitudes = [latitude for latitude, _ in places]
    assert len(places) > 1000
    assert max(latitudes) - min(latitudes) < 0.1
    assert one.gps(NOON) == "{}|{}".format(*one.position(NOON))


def test_the_energy_of_the_day_starts_again_at_midnight() -> None:
    one = bus()
    midnight = NOON - NOON % SECONDS_PER_DAY
    assert one.energy_used_per_day_kwh(midnight) == 0
    assert one.energy_used_per_day_kwh(midnight - 1) > 100


def test_a_parked_bus_stands_still() -> None:
    parked = bus(duty=Duty.PARKED)
    values = {
        label: read(NOON)
        for label, read in parked.readers.items()
        if label != "energy_used_per_day"
    }
    later = {
        label: read(NOON + 5000)
        for label, read in parked.readers.items()
        if label != "energy_used_per_day"
    }
    assert values == later
    assert parked.mode(NOON) is Mode.PARKED


def test_the_seed_makes_the_bus() -> None:
    assert bus(1).odo_km(NOON) == bus(1).odo_km(NOON)
    assert len({bus(1).odo_km(NOON), bus(2).odo_km(NOON), bus(1, seed=8).odo_km(NOON)}) == 3


def test_vins_are_valid_and_differ() -> None:
    vins = {make_vin(7, serial) for serial in range(500)}
    assert len(vins) == 500
    assert all(is_vin(vin) for vin in vins)
    assert not set("IOQ") & set(VIN_ALPHABET)


@pytest.mark.parametrize(
    "text", ["", "YS4", "YS4ABCDEFO0000001", "ys4abcdef00000001", "YS4ABCDEF000000012"]
)
def test_what_is_no_vin(text: str) -> None:
    assert not is_vin(text)
