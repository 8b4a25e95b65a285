"""Which unit sits in which vehicle holds for a span of time, and every span is kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio

from domain.assignments import DeviceAssignment
from domain.registry import Conflict, NotFound, Stored, Swap
from ports.registry import Swapped
from tests.storage.contract.cast import HARBOUR, connection, submission

if TYPE_CHECKING:
    from domain.health_facts import HealthFacts
    from tests.storage.contract.cast import PostgresWorld

NOTHING_HEARD = dict.fromkeys(
    (
        *("last_update_received_at", "last_observed_at", "last_changed_at"),
        *("last_rejected_at", "last_rejection_reason"),
    )
)


async def swap(world: PostgresWorld, device_id: str, **changes: Any) -> Swapped:
    swapped = await world.stores.registry.swap_device(HARBOUR, device_id, Swap(**changes))
    assert isinstance(swapped, Swapped), swapped
    return swapped


async def put(world: PostgresWorld, *drafts: Any, may_swap: bool = False) -> Any:
    return await world.stores.registry.put_devices(HARBOUR, drafts, may_swap=may_swap)


async def retire(world: PostgresWorld, device_id: str) -> None:
    await world.stores.registry.retire_device(HARBOUR, device_id)


async def assignments(world: PostgresWorld, device_id: str) -> list[DeviceAssignment]:
    """Return the device's assignments, newest first."""
    rows = await world.inside.ask("get_assignments", HARBOUR, device_id, list(range(1, 9)))
    return [DeviceAssignment(*row) for row in rows]


async def facts(world: PostgresWorld, device_id: str) -> HealthFacts:
    page = await world.health(HARBOUR)
    return next(row for row in page.rows if row.device.device_id == device_id)


async def heard(world: PostgresWorld, device_id: str) -> dict[str, Any]:
    found = (await facts(world, device_id))._asdict()
    return {name: found[name] for name in NOTHING_HEARD}


@pytest.fixture
def place(dsn: str) -> str:
    """The twin does not have these ports."""
    return dsn


async def test_a_swap_begins_without_history_and_versions_go_on(world: PostgresWorld) -> None:
    good = world.update("bus-1", world.ago(minutes=3), soc_percent=50.0)
    bad = world.update("bus-1", world.ago(minutes=2), soc_percent=500.0)
    await world.send(good, bad)
    swapped = await swap(world, "bus-1", external_id="x-new")
    assert swapped.device.external_id == "x-new"
    assert await world.values("bus-1") == {}
    assert await heard(world, "bus-1") == NOTHING_HEARD
    assert (await world.snapshot("bus-1")).version == 1
    at = swapped.assignment.entered_at
    assert await world.send(world.update("bus-1", at, soc_percent=51.0)) == ["accepted"]
    assert await world.sequences("bus-1") == [2, 1]
    assert await world.values("bus-1") == {"soc_percent": 51.0}


async def test_a_new_activation_begins_without_history(world: PostgresWorld) -> None:
    await world.send(world.update("bus-1", world.ago(minutes=3), soc_percent=50.0))
    await retire(world, "bus-1")
    assert await put(world, world.draft("bus-1")) == [Stored(created=False)]
    assert await world.values("bus-1") == {}
    assert await heard(world, "bus-1") == NOTHING_HEARD
    found = await facts(world, "bus-1")
    # Grace counts from the entry, although the draft says that it was active two hours ago.
    assert found.device.activated_at > world.now
    assert (found.version, found.device.assignment) == (1, 2)


async def test_assignments_are_kept_with_their_ends(world: PostgresWorld) -> None:
    since = world.ago(minutes=30)
    first = await swap(world, "bus-1", vehicle_id="v-9", vehicle_name="Nine", effective_at=since)
    await retire(world, "bus-1")
    await put(world, world.draft("bus-1", activated_at=None))
    third, second, earliest = await assignments(world, "bus-1")
    assert (earliest.vehicle_id, earliest.ended_at) == ("v-bus-1", since)
    assert second == replace(first.assignment, ended_at=second.ended_at)
    assert (second.vehicle_id, second.effective_at) == ("v-9", since)
    assert second.ended_at is not None
    assert third.effective_at >= second.ended_at
    assert (third.vehicle_id, third.ended_at) == ("v-bus-1", None)


async def test_a_put_does_not_give_an_active_device_another_unit(world: PostgresWorld) -> None:
    (refusal,) = await put(world, world.draft("bus-1", external_id="x-new"))
    assert isinstance(refusal, Conflict)
    assert "/devices/bus-1/swap" in refusal.detail
    assert len(await assignments(world, "bus-1")) == 1
    (stored,) = await put(world, world.draft("bus-1", external_id="x-new"), may_swap=True)
    assert stored == Stored(created=False, swapped=True)
    assert [one.external_id for one in await assignments(world, "bus-1")] == ["x-new", "x-bus-1"]


async def test_a_name_and_a_spelling_are_corrected_in_place(world: PostgresWorld) -> None:
    await put(world, world.draft("bus-1", vehicle_name="Renamed"))
    (only,) = await assignments(world, "bus-1")
    assert (only.vehicle_name, only.ended_at) == ("Renamed", None)


async def test_a_reading_of_another_vehicle_is_refused_without_blame(
    world: PostgresWorld,
) -> None:
    await world.send(world.update("bus-1", world.ago(minutes=3), soc_percent=50.0))
    await retire(world, "bus-1")
    await put(world, world.draft("bus-8", external_id="x-bus-1", activated_at=None))
    buffered = world.update(
        "bus-8", world.ago(hours=3), device_id=None, external_id="x-bus-1", soc_percent=11.0
    )
    assert await world.send(buffered) == ["rejected:outside_assignment"]
    assert await world.values("bus-8") == {}
    assert await heard(world, "bus-8") == NOTHING_HEARD
    rows = await world.stores.reads.list_rejections(HARBOUR, before=None, reason=None, limit=9)
    assert [(row.device_id, row.reason) for row in rows] == [("bus-8", "outside_assignment")]


async def test_a_first_latest_status_may_be_older_than_the_device(world: PostgresWorld) -> None:
    await put(world, world.draft("bus-8", activated_at=None))
    old = world.update("bus-8", world.ago(days=90), soc_percent=77.0)
    assert await world.send(old) == ["accepted"]


async def test_only_the_own_vehicles_readings_of_an_update_are_taken(
    world: PostgresWorld,
) -> None:
    since = world.ago(minutes=30)
    await swap(world, "bus-1", vehicle_id="v-9", vehicle_name="Nine", effective_at=since)
    before = world.update("bus-1", world.ago(minutes=40), soc_percent=11.0)
    after = world.update("bus-1", world.ago(minutes=20), speed_kmh=12.0)
    both = after._replace(readings=(*before.readings, *after.readings))
    (receipt,) = await world.commit(submission(both))
    (result,) = receipt.results
    assert (result.outcome, result.detail) == (
        "accepted",
        "soc_percent: observed while the unit sat in another vehicle",
    )
    assert await world.values("bus-1") == {"speed_kmh": 12.0}


async def test_a_swap_tells_what_was_accepted_after_it(world: PostgresWorld) -> None:
    await world.send(world.update("bus-1", world.ago(minutes=40), soc_percent=60.0))
    await world.send(world.update("bus-1", world.ago(minutes=20), soc_percent=50.0))
    since = world.ago(minutes=30)
    change: dict[str, Any] = {
        "vehicle_id": "v-9",
        "vehicle_name": "Nine",
        "effective_at": since,
    }
    swapped = await swap(world, "bus-1", **change)
    # Both were accepted only now, so after the swap.
    assert (swapped.event_count, [event.sequence for event in swapped.events]) == (2, [2, 1])
    await world.send(world.update("bus-1", world.ago(minutes=10), soc_percent=40.0))
    events = await world.stores.reads.list_events(HARBOUR, "bus-1", before=None, limit=9)
    assert [(row.assignment, row.vehicle_id, row.is_outside) for row in events] == [
        (2, "v-9", False),
        (1, "v-bus-1", True),
        (1, "v-bus-1", True),
    ]
    assert await swap(world, "bus-1", **change) == swapped


async def test_a_swap_of_what_cannot_be_swapped_is_refused(world: PostgresWorld) -> None:
    registry = world.stores.registry
    unit = Swap(external_id="x-new")
    assert await registry.swap_device(HARBOUR, "bus-77", unit) == NotFound("device")
    taken = await registry.swap_device(HARBOUR, "bus-1", Swap(external_id="x-bus-2"))
    assert isinstance(taken, Conflict)
    tomorrow = unit._replace(effective_at=world.now + timedelta(days=1))
    assert isinstance(await registry.swap_device(HARBOUR, "bus-1", tomorrow), Conflict)
    await retire(world, "bus-1")
    assert isinstance(await registry.swap_device(HARBOUR, "bus-1", unit), Conflict)


async def test_a_vin_is_found_in_any_case_and_has_one_device(world: PostgresWorld) -> None:
    await world.stores.registry.put_provider(connection("maker", ids_are_vins=True))
    vin = world.draft("truck-1", provider_id="maker", external_id="TESTVIN0000000001")
    assert await put(world, vin) == [Stored(created=True)]
    shout = vin._replace(device_id="truck-2", external_id="testvin0000000001")
    assert isinstance((await put(world, shout))[0], Conflict)
    arriving = world.update(
        "truck-1",
        world.ago(minutes=1),
        provider_id="maker",
        device_id=None,
        external_id="testVIN0000000001",
        soc_percent=61.5,
    )
    assert await world.send(arriving) == ["accepted"]
    by_both = arriving._replace(device_id="truck-1")
    assert await world.send(by_both) == ["duplicate"]
    device = await world.stores.registry.get_device(HARBOUR, "truck-1")
    assert device is not None
    assert device.external_id == "TESTVIN0000000001"


async def test_another_id_keeps_its_case(world: PostgresWorld) -> None:
    arriving = world.update(
        "bus-1", world.ago(minutes=1), device_id=None, external_id="X-BUS-1", soc_percent=50.0
    )
    assert await world.send(arriving) == ["rejected:unknown_device"]
    twin = world.draft("bus-8", external_id="X-BUS-1")
    assert await put(world, twin) == [Stored(created=True)]


async def test_another_type_compares_ids_anew(world: PostgresWorld) -> None:
    registry = world.stores.registry
    await registry.put_provider(connection("steady", ids_are_vins=True))
    arriving = world.update(
        "bus-1", world.ago(minutes=1), device_id=None, external_id="X-Bus-1", soc_percent=50.0
    )
    assert await world.send(arriving) == ["accepted"]
    assert [one.external_key for one in await assignments(world, "bus-1")] == ["X-BUS-1"]
    await registry.put_provider(connection("steady"))
    assert await put(world, world.draft("bus-8", external_id="X-BUS-1")) == [Stored(created=True)]
    refused = await registry.put_provider(connection("steady", ids_are_vins=True))
    assert isinstance(refused, Conflict)
    assert refused.field == "provider_type"


async def test_a_unit_that_waits_for_a_swap_sees_its_result(world: PostgresWorld) -> None:
    """The reading was collected before the swap, and waits for the swap's row lock."""
    old = world.update("bus-1", world.ago(minutes=1), external_id="x-bus-1", soc_percent=50.0)
    sent: list[str] = []

    async def send() -> None:
        await trio.sleep(0.1)  # behind the swap
        sent.extend(await world.send(old))

    holding = world.inside.holding("device_state", HARBOUR, "bus-1")
    async with trio.open_nursery() as nursery, holding:
        change = {"external_id": "x-new", "vehicle_id": "v-9", "vehicle_name": "Nine"}
        nursery.start_soon(lambda: swap(world, "bus-1", **change))
        nursery.start_soon(send)
        await trio.sleep(0.3)
    assert sent == ["rejected:identity_conflict"]
    assert await world.values("bus-1") == {}
    assert await heard(world, "bus-1") == NOTHING_HEARD
