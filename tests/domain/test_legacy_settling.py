"""A device of a legacy registry that contradicts what is stored is refused alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from domain.legacy_sync import RegistryAnswer
from domain.registry import DeviceDraft
from tests.domain.synced_fleet import SyncedFleet

DAY = timedelta(days=1)


def bus(number: int, unit: int | str | None = None, **rest: Any) -> DeviceDraft:
    """Bus 1 has unit x-1 in vehicle B 1, unless another unit is given."""
    name = number if unit is None else unit
    plain = DeviceDraft(f"bus-{number}", "steady", f"x-{name}", f"B {number}", f"Bus {number}")
    return plain._replace(**rest)


def fleet_of(*drafts: DeviceDraft) -> SyncedFleet:
    fleet = SyncedFleet()
    fleet.sync(RegistryAnswer(drafts))
    return fleet


def refused(fleet: SyncedFleet) -> dict[str, str]:
    return {one.device_id: one.field for one in fleet.settled.refused}


def retire(fleet: SyncedFleet, *staying: DeviceDraft) -> None:
    for _ in range(2):
        fleet.sync(RegistryAnswer(staying))


def test_the_first_answer_creates_the_fleet() -> None:
    fleet = fleet_of(bus(1), bus(2))
    assert sorted(fleet.active()) == ["bus-1", "bus-2"]
    assert fleet.counts["created"] == 2


def test_a_stranger_costs_only_itself() -> None:
    fleet = fleet_of(bus(1), bus(2, provider_id="nobody"), bus(3, "1"))
    assert refused(fleet) == {"bus-2": "provider_id", "bus-3": "external_id"}
    assert sorted(fleet.active()) == ["bus-1"]


def test_another_unit_or_vehicle_is_a_swap_and_a_name_is_none() -> None:
    fleet = fleet_of(bus(1), bus(2), bus(3))
    fleet.sync(RegistryAnswer([bus(1, "9"), bus(2, vehicle_id="B 9"), bus(3, vehicle_name="!")]))
    assert {name: one.assignment for name, one in fleet.active().items()} == {
        "bus-1": 2,
        "bus-2": 2,
        "bus-3": 1,
    }
    assert (fleet.counts["swapped"], fleet.counts["changed"]) == (2, 1)


def test_devices_may_exchange_their_units() -> None:
    fleet = fleet_of(bus(1), bus(2))
    fleet.sync(RegistryAnswer([bus(1, "2"), bus(2, "1")]))
    assert fleet.counts["swapped"] == 2


def test_a_swap_to_a_unit_that_a_refused_swap_keeps_is_refused() -> None:
    fleet = fleet_of(*(bus(number) for number in range(1, 6)))
    chain = [bus(1, "2"), bus(2, "3"), bus(3, "4"), bus(4), bus(5, "9")]
    fleet.sync(RegistryAnswer(chain))
    assert refused(fleet) == dict.fromkeys(("bus-1", "bus-2", "bus-3"), "external_id")
    assert fleet.counts["swapped"] == 1


def test_the_unit_of_a_device_that_is_retired_is_free_at_once() -> None:
    fleet = fleet_of(bus(1), bus(2), bus(3))
    there = [bus(1), bus(2), bus(7, "3")]
    fleet.sync(RegistryAnswer(there))
    assert refused(fleet) == {"bus-7": "external_id"}
    fleet.sync(RegistryAnswer(there))
    assert sorted(fleet.active()) == ["bus-1", "bus-2", "bus-7"]


def test_a_return_continues_the_assignment() -> None:
    fleet = fleet_of(bus(1), bus(2))
    retire(fleet, bus(1))
    fleet.now += DAY - timedelta(minutes=5)
    fleet.sync(RegistryAnswer([bus(1), bus(2, vehicle_name="New name")]))
    returned = fleet.active()["bus-2"]
    assert (returned.assignment, returned.vehicle_name) == (1, "New name")
    assert fleet.counts["returned"] == 1


def test_a_return_after_more_than_a_day_begins_anew() -> None:
    fleet = fleet_of(bus(1), bus(2))
    retire(fleet, bus(1))
    fleet.now += DAY
    fleet.sync(RegistryAnswer([bus(1), bus(2)]))
    assert fleet.active()["bus-2"].assignment == 2
    assert fleet.counts["activated"] == 1


def test_a_return_whose_unit_was_elsewhere_begins_anew() -> None:
    fleet = fleet_of(bus(1), bus(2), bus(3))
    retire(fleet, bus(1), bus(2))
    fleet.sync(RegistryAnswer([bus(1, "3"), bus(2)]))
    fleet.sync(RegistryAnswer([bus(1), bus(2), bus(3)]))
    assert fleet.active()["bus-3"].assignment == 2


def test_a_return_whose_unit_is_taken_is_refused() -> None:
    fleet = fleet_of(bus(1), bus(2), bus(3))
    retire(fleet, bus(1), bus(2))
    fleet.sync(RegistryAnswer([bus(1), bus(2), bus(8, "3"), bus(3)]))
    assert refused(fleet) == {"bus-8": "external_id"}
    assert fleet.active()["bus-3"].assignment == 1


def test_a_sync_leaves_tags_and_thresholds_alone() -> None:
    fleet = fleet_of(bus(1, grace_seconds=60.0, tags=("north",)))
    fleet.sync(RegistryAnswer([bus(1, vehicle_name="Renamed")]))
    device = fleet.active()["bus-1"]
    assert (device.vehicle_name, device.override.grace_seconds, device.tags) == (
        "Renamed",
        60.0,
        ("north",),
    )
