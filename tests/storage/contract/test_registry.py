"""Configuration by commands that may be repeated, and that store everything or nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from domain.model import Device, Policy, PolicyOverride
from domain.registry import Conflict, NotFound, Stored, Swap
from ports.registry import Swapped
from tests.storage.contract.cast import HARBOUR, ISLAND, connection

if TYPE_CHECKING:
    from domain.model import Workspace
    from tests.storage.contract.cast import PostgresWorld


@pytest.fixture
def place(dsn: str) -> str:
    """The twin does not have these ports."""
    return dsn


SAME, NEW = Stored(created=False), Stored(created=True)


# --- Workspaces


async def get(world: PostgresWorld, workspace_id: str) -> Workspace:
    workspace = await world.stores.registry.get_workspace(workspace_id)
    assert workspace is not None
    return workspace


async def test_the_same_workspace_again_changes_nothing(world: PostgresWorld) -> None:
    before = await world.stores.registry.get_workspace(HARBOUR)
    assert await world.put_workspace(HARBOUR) == SAME
    assert await world.stores.registry.get_workspace(HARBOUR) == before


async def test_a_changed_workspace_keeps_its_ordinal_and_tells_actors(world: PostgresWorld) -> None:
    before = await get(world, ISLAND)
    assert await world.put_workspace(ISLAND, policy=Policy(grace_seconds=60.0)) == SAME
    wanted = replace(
        before, policy=Policy(grace_seconds=60.0), config_version=before.config_version + 1
    )
    assert await get(world, ISLAND) == wanted


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"poll_interval_seconds": 1}, "poll_interval_seconds"),
        ({"poll_interval_seconds": 3601}, "poll_interval_seconds"),
        ({"policy": Policy(stale_after_seconds=360.0)}, "stale_after_seconds"),
        ({"policy": Policy(grace_seconds=0.0)}, "grace_seconds"),
    ],
)
async def test_a_workspace_that_the_tables_would_refuse_is_a_conflict(
    world: PostgresWorld, changes: dict[str, Any], field: str
) -> None:
    refusal = await world.put_workspace("aerodrome", **changes)
    assert isinstance(refusal, Conflict)
    assert refusal.field == field
    assert await world.stores.registry.get_workspace("aerodrome") is None


async def test_a_list_of_workspaces_has_the_visible_ones_after_a_place(
    world: PostgresWorld,
) -> None:
    await world.put_workspace("Zoo")
    registry = world.stores.registry
    seen = await registry.list_workspaces(
        workspaces=frozenset({ISLAND, "Zoo"}), after=None, limit=10
    )
    rest = await registry.list_workspaces(workspaces=None, after=HARBOUR, limit=10)
    first = await registry.list_workspaces(workspaces=None, after=None, limit=1)
    # Capitals come before small letters: names sort by code point in every locale.
    assert [[item.workspace_id for item in page] for page in (seen, rest, first)] == [
        ["Zoo", ISLAND],
        [ISLAND],
        ["Zoo"],
    ]


# --- Provider connections


async def test_a_provider_connection_comes_back_as_it_was_put(world: PostgresWorld) -> None:
    wanted = replace(
        connection(
            "fresh",
            settings={"depots": [1, 2], "deep": {"tls": True}},
            expected_update_seconds=900.0,
        ),
        credential="env:KEY",
        active=False,
        override=PolicyOverride(stale_after_seconds=1200.0),
    )
    assert await world.stores.registry.put_provider(wanted) == NEW
    assert await world.stores.registry.get_provider(HARBOUR, "fresh") == wanted


async def test_only_a_different_connection_is_a_change(world: PostgresWorld) -> None:
    before = await world.config_version()
    assert await world.stores.registry.put_provider(connection("steady")) == SAME
    assert await world.config_version() == before
    assert await world.stores.registry.put_provider(connection("steady", active=False)) == SAME
    assert await world.config_version() == before + 1


async def test_a_connection_needs_a_workspace_and_sensible_thresholds(world: PostgresWorld) -> None:
    registry = world.stores.registry
    assert await registry.put_provider(connection("steady", "nowhere")) == NotFound("workspace")
    refusal = await registry.put_provider(connection("fresh", expected_update_seconds=0.0))
    assert isinstance(refusal, Conflict)
    providers = await registry.list_providers(HARBOUR, after=None, limit=10)
    assert [item.provider_id for item in providers] == ["liar", "slow", "steady"]


# --- Devices


async def test_devices_are_stored_all_or_none(world: PostgresWorld) -> None:
    before = await world.config_version()
    drafts = [
        world.draft("bus-8"),
        world.draft("bus-9", provider_id="nobody"),
        world.draft("bus-8"),
    ]
    answers = await world.stores.registry.put_devices(HARBOUR, drafts)
    assert isinstance(answers, list)
    assert [type(answer) for answer in answers] == [Stored, NotFound, Conflict]
    assert await world.stores.registry.get_device(HARBOUR, "bus-8") is None
    assert await world.config_version() == before


async def test_devices_of_an_unknown_workspace_are_not_found(world: PostgresWorld) -> None:
    assert await world.stores.registry.put_devices("nowhere", [world.draft("bus-8")]) == NotFound(
        "workspace"
    )


async def test_the_same_devices_again_change_nothing(world: PostgresWorld) -> None:
    before, version = (
        await world.stores.registry.get_device(HARBOUR, "bus-1"),
        await world.config_version(),
    )
    again = world.draft("bus-1", activated_at=None)
    assert await world.stores.registry.put_devices(HARBOUR, [again]) == [SAME]
    assert await world.stores.registry.get_device(HARBOUR, "bus-1") == before
    assert await world.config_version() == version


async def test_a_device_without_an_activation_time_is_active_from_now(world: PostgresWorld) -> None:
    await world.stores.registry.put_devices(HARBOUR, [world.draft("bus-8", activated_at=None)])
    device = await world.stores.registry.get_device(HARBOUR, "bus-8")
    assert device is not None
    assert timedelta(0) < device.activated_at - world.now < timedelta(minutes=5)


async def test_an_external_id_has_one_active_device_of_a_connection(world: PostgresWorld) -> None:
    (refusal,) = await put(world, world.draft("bus-8", external_id="x-bus-1"))
    assert isinstance(refusal, Conflict)
    assert refusal.field == "external_id"
    # Another connection may have a device of the same name.
    assert await put(world, world.draft("bus-8", external_id="x-bus-1", provider_id="slow")) == [
        NEW
    ]


async def test_two_devices_of_one_command_cannot_share_an_external_id(world: PostgresWorld) -> None:
    answers = await put(
        world, world.draft("bus-8", external_id="x"), world.draft("bus-9", external_id="x")
    )
    assert [type(answer) for answer in answers] == [Stored, Conflict]


async def test_retiring_or_swapping_a_device_frees_its_external_id(world: PostgresWorld) -> None:
    await world.stores.registry.retire_device(HARBOUR, "bus-1")
    assert await put(world, world.draft("bus-8", external_id="x-bus-1")) == [NEW]
    assert await swap(world, "bus-2", external_id="x-other") is not None
    assert await put(world, world.draft("bus-9", external_id="x-bus-2")) == [NEW]
    (refusal,) = await put(world, world.draft("bus-1"))
    assert isinstance(refusal, Conflict)


async def test_a_taken_external_id_stays_if_its_former_device_returns(
    world: PostgresWorld,
) -> None:
    await world.stores.registry.retire_device(HARBOUR, "bus-1")
    heir = world.draft("bus-8", external_id="x-bus-1", vehicle_id="v-bus-1")
    assert await put(world, heir) == [NEW]
    assert await put(world, world.draft("bus-1", external_id="x-other")) == [SAME]
    unnamed = world.update(
        "bus-1", world.ago(minutes=1), device_id=None, external_id="x-bus-1", soc_percent=50.0
    )
    assert await world.send(unnamed) == ["accepted"]
    assert (await world.values("bus-8"), await world.values("bus-1")) == ({"soc_percent": 50.0}, {})
    (refusal,) = await put(world, world.draft("bus-9", external_id="x-bus-1"))
    assert isinstance(refusal, Conflict)


async def test_retiring_again_keeps_the_first_instant(world: PostgresWorld) -> None:
    first = await world.stores.registry.retire_device(HARBOUR, "bus-1")
    version = await world.config_version()
    assert isinstance(first, Device)
    assert first.retired_at is not None
    assert await world.stores.registry.retire_device(HARBOUR, "bus-1") == first
    assert await world.config_version() == version
    assert await world.stores.registry.retire_device(HARBOUR, "bus-77") == NotFound("device")


async def test_a_retired_device_put_again_is_active_and_versions_go_on(
    world: PostgresWorld,
) -> None:
    await world.send(world.update("bus-1", world.ago(minutes=3), soc_percent=50.0))
    await world.stores.registry.retire_device(HARBOUR, "bus-1")
    assert await put(world, world.draft("bus-1", activated_at=None)) == [SAME]
    device = await world.stores.registry.get_device(HARBOUR, "bus-1")
    assert device is not None
    assert device.retired_at is None
    assert device.activated_at > world.now
    await world.send(world.update("bus-1", world.ago(minutes=1), soc_percent=51.0))
    assert (await world.snapshot("bus-1")).version == 2


async def test_a_list_of_devices_is_in_key_order_without_retired_ones(world: PostgresWorld) -> None:
    await put(world, world.draft("Bus-1"), world.draft("bus-10"))
    await world.stores.registry.retire_device(HARBOUR, "bus-1")
    listed = world.stores.registry.list_devices
    active = await listed(HARBOUR, include_retired=False, after=None, limit=10)
    every = await listed(HARBOUR, include_retired=True, after="Bus-1", limit=2)
    assert [item.device_id for item in active] == ["Bus-1", "bus-10", "bus-2", "ferry-1", "tram-1"]
    assert [item.device_id for item in every] == ["bus-1", "bus-10"]


async def test_tags_are_stored_found_and_kept(world: PostgresWorld) -> None:
    registry = world.stores.registry
    await put(world, world.draft("bus-1", tags=("depot \u5317", "line 7")))
    await put(world, world.draft("bus-2", tags=("line 7",)))
    await put(world, world.draft("bus-1"))  # names none
    stored = await registry.get_device(HARBOUR, "bus-1")
    assert stored is not None
    assert stored.tags == ("depot \u5317", "line 7")
    for tag, found in (("line 7", ["bus-1", "bus-2"]), ("depot \u5317", ["bus-1"]), ("line", [])):
        listed = await registry.list_devices(
            HARBOUR, include_retired=True, after=None, limit=9, tag=tag
        )
        assert [device.device_id for device in listed] == found


# --- Run now


async def test_a_request_that_still_waits_is_answered_again(world: PostgresWorld) -> None:
    registry = world.stores.registry
    before = await world.config_version()
    first = await registry.request_cycle(HARBOUR, "trace-a")
    assert isinstance(first, str)
    assert await registry.request_cycle(HARBOUR, "trace-b") == first
    assert await world.config_version() == before + 1
    cycle = await world.stores.reads.get_cycle(HARBOUR, first)
    assert cycle is not None
    assert (cycle.outcome, cycle.trace_id, cycle.requested_at) == (
        "requested",
        "trace-a",
        cycle.key.slot_start_at,
    )


async def test_a_run_of_an_unknown_workspace_is_not_found(world: PostgresWorld) -> None:
    assert await world.stores.registry.request_cycle("nowhere", "trace-a") == NotFound("workspace")


async def put(world: PostgresWorld, *drafts: Any) -> Any:
    return await world.stores.registry.put_devices(HARBOUR, drafts)


async def swap(world: PostgresWorld, device_id: str, **changes: Any) -> Swapped:
    swapped = await world.stores.registry.swap_device(HARBOUR, device_id, Swap(**changes))
    assert isinstance(swapped, Swapped), swapped
    return swapped
