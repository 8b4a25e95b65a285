"""How a unit applies updates: snapshots, events, and the outcomes that it answers."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from domain.held import Held, to_micros
from domain.model import (
    Outcome,
    Ownership,
    ProviderStatement,
    Reading,
    Reason,
    Result,
    StatementKind,
)
from storage.unit.rows import LockedDevice
from tests.storage.contract.cast import DEVICES, HARBOUR, HARBOUR_LEASE, ISLAND, said, submission

if TYPE_CHECKING:
    from tests.storage.contract.cast import World


async def test_an_accepted_update_moves_snapshot_state_and_history(world: World) -> None:
    at = world.ago(minutes=3)
    assert await world.send(world.update("bus-1", at, soc_percent=50.0, charging=True)) == [
        "accepted"
    ]
    row = await world.snapshot("bus-1")
    document = {"soc_percent": (50.0, at), "charging": (True, at)}
    values = {signal: (held.value, held.observed_at) for signal, held in row.document.items()}
    assert (row.version, values, row.last_update_received_at, row.last_changed_at) == (
        1,
        document,
        at,
        at,
    )
    (event,) = await world.stores.reads.list_events(HARBOUR, "bus-1", before=None, limit=10)
    assert (event.sequence, event.readings, event.received_at, event.provider_id) == (
        1,
        document,
        at,
        "steady",
    )
    assert (event.trace_id, event.shard_id, event.epoch) == (
        "trace-1",
        "shard-1",
        world.session.epoch,
    )
    assert world.now <= event.recorded_at < world.now + timedelta(minutes=5)


async def test_same_older_and_conflicting_updates_are_told_apart(
    world: World,
) -> None:
    at = world.ago(minutes=3)
    await world.send(world.update("bus-1", at, soc_percent=50.0))
    outcomes = await world.send(
        world.update("bus-1", at, soc_percent=50.0),
        world.update("bus-1", at - timedelta(seconds=1), soc_percent=51.0),
        world.update("bus-1", at, soc_percent=52.0),
    )
    assert outcomes == ["duplicate", "stale", "conflict"]
    assert await world.sequences("bus-1") == [1]


async def test_a_late_frame_does_not_move_the_snapshot_back(world: World) -> None:
    await world.send(world.update("bus-1", world.ago(minutes=3), soc_percent=50.0))
    before = await world.snapshot("bus-1")
    assert await world.send(world.update("bus-1", world.ago(minutes=9), soc_percent=60.0)) == [
        "stale"
    ]
    assert await world.snapshot("bus-1") == before


async def test_a_late_frame_adds_only_the_signal_that_was_missing(world: World) -> None:
    await world.send(world.update("bus-1", world.ago(minutes=3), soc_percent=50.0))
    late = world.update("bus-1", world.ago(minutes=9), soc_percent=60.0, charging=False)
    assert await world.send(late) == ["accepted"]
    row = await world.snapshot("bus-1")
    soc, charging = row.document["soc_percent"], row.document["charging"]
    assert (soc.value, soc.observed_at) == (50.0, world.ago(minutes=3))
    assert (charging.value, charging.observed_at) == (False, world.ago(minutes=9))
    assert row.last_update_received_at == world.ago(minutes=3)


async def test_an_unchanged_value_moves_the_arrival_but_not_the_change(
    world: World,
) -> None:
    await world.send(world.update("bus-1", world.ago(minutes=3), soc_percent=50.0))
    assert await world.send(world.update("bus-1", world.ago(minutes=1), soc_percent=50.0)) == [
        "accepted"
    ]
    row = await world.snapshot("bus-1")
    assert (row.last_update_received_at, row.last_changed_at) == (
        world.ago(minutes=1),
        world.ago(minutes=3),
    )


async def test_one_unit_writes_the_devices_of_two_workspaces(world: World) -> None:
    ours = world.update("bus-1", world.ago(minutes=3), soc_percent=50.0)
    beside = world.update("bus-2", world.ago(minutes=3), soc_percent=55.0)
    theirs = world.update("bus-1", world.ago(minutes=2), soc_percent=60.0)
    assert await world.send(ours, theirs._replace(workspace_id=ISLAND), beside) == ["accepted"] * 3
    devices = ((HARBOUR, "bus-1"), (HARBOUR, "bus-2"), (ISLAND, "bus-1"))
    snapshots = [await world.snapshot(device_id, workspace) for workspace, device_id in devices]
    values = [snapshot.document["soc_percent"].value for snapshot in snapshots]
    assert values == [50.0, 55.0, 60.0]


async def test_updates_of_one_device_fold_across_a_units_submissions(
    world: World,
) -> None:
    receipts = await world.commit(
        submission(world.update("bus-1", world.ago(minutes=3), soc_percent=50.0)),
        submission(
            world.update("bus-1", world.ago(minutes=3), soc_percent=50.0),
            world.update("bus-1", world.ago(minutes=1), soc_percent=49.0),
        ),
    )
    results = [
        [(said(result), result.version) for result in receipt.results] for receipt in receipts
    ]
    assert results == [[("accepted", 1)], [("duplicate", 1), ("accepted", 2)]]
    assert await world.values("bus-1") == {"soc_percent": 49.0}


async def test_versions_have_no_gaps_whatever_is_refused_between(world: World) -> None:
    for minute in range(9, 4, -1):
        at = world.ago(minutes=minute)
        await world.send(
            world.update("bus-1", at, soc_percent=50.0),
            world.update("bus-1", at, vehicle_id="v-other", soc_percent=1.0),
            world.update("bus-1", at, soc_percent=50.0),
        )
    assert await world.sequences("bus-1") == [5, 4, 3, 2, 1]
    assert (await world.snapshot("bus-1")).version == 5


async def test_an_external_id_finds_the_device_of_its_own_connection(world: World) -> None:
    at = world.ago(minutes=3)
    mine = world.update("bus-1", at, device_id=None, external_id="x-bus-1", soc_percent=50.0)
    answers = await world.commit(
        submission(mine, mine._replace(provider_id="slow"), mine._replace(workspace_id=ISLAND))
    )
    unknown = Result(Outcome.REJECTED, Reason.UNKNOWN_DEVICE)
    accepted = Result(Outcome.ACCEPTED, None, "bus-1", 1)
    assert answers[0].results == (accepted, unknown, accepted)
    assert (await world.snapshot("bus-1", ISLAND)).version == 1


@pytest.mark.parametrize(
    ("claims", "answer"),
    [
        ({"device_id": "bus-77"}, "rejected:unknown_device"),
        ({"device_id": "bus-2", "workspace_id": ISLAND}, "rejected:unknown_device"),
        ({"device_id": None}, "rejected:unknown_device"),
        ({"device_id": "bus-\x00"}, "rejected:unknown_device"),
        ({"device_id": None, "external_id": "\ud800"}, "rejected:unknown_device"),
        ({"vehicle_id": "v-other"}, "rejected:identity_conflict"),
        ({"provider_id": "liar"}, "rejected:identity_conflict"),
        ({"external_id": "x-other"}, "rejected:identity_conflict"),
        ({"readings": ()}, "rejected:invalid"),
        ({"vehicle_id": "v-bus-1", "external_id": "x-bus-1"}, "accepted"),
    ],
)
async def test_the_identity_in_an_update_must_agree_with_the_registry(
    world: World, claims: dict[str, str | None], answer: str
) -> None:
    assert await world.send(
        world.update("bus-1", world.ago(minutes=3), soc_percent=50.0, **claims)
    ) == [answer]
    assert (await world.snapshot("bus-1")).version == (1 if answer == "accepted" else 0)


async def test_readings_are_dropped_one_by_one(world: World) -> None:
    at = world.ago(minutes=3)
    mixed = (
        Reading("soc_percent", 400.0, at),
        Reading("charging", True, at),
        Reading("speed_kmh", 3.0, world.ago(hours=-1)),
    )
    ahead = (Reading("speed_kmh", 3.0, world.ago(hours=-1)),)
    lies = [world.update("tram-1", at, readings=readings) for readings in (mixed, mixed[:1], ahead)]
    assert await world.send(*lies) == ["accepted", "rejected:invalid", "rejected:future_timestamp"]
    assert await world.values("tram-1") == {"charging": True}


async def test_a_retired_device_is_unknown_to_whoever_sends(world: World) -> None:
    await world.stores.registry.retire_device(HARBOUR, "bus-1")
    by_name = world.update(
        "bus-1", world.ago(minutes=3), device_id=None, external_id="x-bus-1", soc_percent=50.0
    )
    outcomes = await world.send(
        by_name, world.update("bus-1", world.ago(minutes=3), soc_percent=50.0)
    )
    assert outcomes == ["rejected:unknown_device"] * 2


async def test_receipts_carry_the_unit_and_the_databases_time(world: World) -> None:
    updates = [
        world.update(device_id, world.ago(minutes=3), soc_percent=50.0) for device_id in DEVICES
    ]
    receipts = await world.commit(submission(*updates), submission())
    assert [(receipt.unit, len(receipt.results)) for receipt in receipts] == [(1, 4), (1, 0)]
    assert receipts[0].committed_at == receipts[1].committed_at > world.now


async def test_an_event_names_the_claim_under_which_it_was_collected(world: World) -> None:
    mine = Ownership(HARBOUR_LEASE, *world.session, token=7)
    await world.commit(
        submission(world.update("bus-1", world.ago(minutes=3), soc_percent=50.0), ownership=mine)
    )
    (event,) = await world.stores.reads.list_events(HARBOUR, "bus-1", before=None, limit=10)
    assert (event.resource, event.token) == (HARBOUR_LEASE, 7)


async def test_each_value_keeps_its_times(world: World) -> None:
    stated, later = world.ago(minutes=9), world.ago(minutes=7)
    first = world.update("bus-1", stated, soc_percent=50.0)
    await world.send(
        first._replace(received_at=world.ago(minutes=5), reception_at=world.ago(minutes=8))
    )
    await world.send(world.update("bus-1", later, soc_percent=50.0, charging=True))
    document = (await world.snapshot("bus-1")).document
    assert document == {
        "soc_percent": Held(50.0, to_micros(later), to_micros(later), None, to_micros(stated)),
        "charging": Held(True, *(to_micros(later),) * 2, None, to_micros(later)),
    }


async def test_a_position_is_stored_as_one_and_read_as_two(world: World) -> None:
    at = world.ago(minutes=3)
    here = world.update("bus-1", at)._replace(readings=(Reading("position", (52.09, 5.11), at),))
    await world.send(here)
    values = {"latitude_deg": 52.09, "longitude_deg": 5.11}
    assert await world.values("bus-1") == values
    (event,) = await world.stores.reads.list_events(HARBOUR, "bus-1", before=None, limit=10)
    assert event.readings == {name: (half, at) for name, half in values.items()}


async def test_only_old_data_is_remembered_as_outdated(world: World) -> None:
    await world.send(world.update("bus-1", world.ago(minutes=3), soc_percent=50.0))
    late = world.update("bus-1", world.ago(minutes=9), soc_percent=60.0)
    received = world.ago(minutes=1)
    assert await world.send(late._replace(received_at=received)) == ["stale"]
    (row,) = await world.inside.ask("lock_devices", [HARBOUR], ["bus-1"], [True])
    assert LockedDevice._make(row).last_outdated_at == received


async def test_how_long_data_was_held_back_is_stored(world: World) -> None:
    late = world.update("bus-1", world.ago(minutes=20), soc_percent=60.0)
    received, reception = world.ago(minutes=1), world.ago(minutes=11)
    await world.send(late._replace(received_at=received, reception_at=reception))
    (row,) = await world.inside.ask("lock_devices", [HARBOUR], ["bus-1"], [True])
    assert LockedDevice._make(row).held_back_seconds == 600.0


async def test_an_answer_without_the_data_proves_it_was_held_back(world: World) -> None:
    asked, answered = world.ago(minutes=5), world.ago(minutes=4)
    named = ProviderStatement(HARBOUR, StatementKind.NAMED, ("bus-1",), asked, answered)
    await world.commit(submission(statements=(named,)))
    late = world.update("bus-1", world.ago(minutes=20), soc_percent=60.0)
    await world.send(late._replace(received_at=world.ago(minutes=1)))
    (row,) = await world.inside.ask("lock_devices", [HARBOUR], ["bus-1"], [True])
    assert LockedDevice._make(row).held_back_seconds == 15 * 60
