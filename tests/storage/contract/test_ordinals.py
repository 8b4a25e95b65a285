"""Ordinals: each active workspace has its place in the series of its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from domain.registry import Stored
from tests.storage.contract.cast import HARBOUR, ISLAND

if TYPE_CHECKING:
    from tests.storage.contract.cast import World


async def ordinals(world: World) -> dict[str, int | None]:
    names = await world.stores.sessions.load_config_versions()
    return {name: (await world.workspace(name)).ordinal for name in names}


async def test_new_workspaces_take_the_lowest_free_ordinals_in_turn(world: World) -> None:
    assert await world.put_workspace("aerodrome") == Stored(created=True)
    assert await ordinals(world) == {HARBOUR: 0, ISLAND: 1, "aerodrome": 2}


async def test_each_interval_has_a_series_of_its_own(world: World) -> None:
    await world.put_workspace("quick-1", poll_interval_seconds=60)
    await world.put_workspace("quick-2", poll_interval_seconds=60)
    await world.put_workspace("aerodrome")
    assert await ordinals(world) == {
        HARBOUR: 0,
        ISLAND: 1,
        "aerodrome": 2,
        "quick-1": 0,
        "quick-2": 1,
    }


async def test_deactivation_frees_an_ordinal_and_the_lowest_is_taken(
    world: World,
) -> None:
    for name in ("a", "b", "c"):
        await world.put_workspace(name)
    for name in ("b", HARBOUR):
        await world.put_workspace(name, active=False)
    assert await ordinals(world) == {HARBOUR: None, ISLAND: 1, "a": 2, "b": None, "c": 4}
    await world.put_workspace("new")
    await world.put_workspace(HARBOUR)
    await world.put_workspace("b")
    assert await ordinals(world) == {"new": 0, ISLAND: 1, "a": 2, HARBOUR: 3, "c": 4, "b": 5}


async def test_a_workspace_put_inactive_has_no_ordinal_until_activated(world: World) -> None:
    await world.put_workspace("resting", active=False, poll_interval_seconds=60)
    await world.put_workspace("resting", active=False, poll_interval_seconds=300)
    assert (await ordinals(world))["resting"] is None
    await world.put_workspace("resting")
    assert (await ordinals(world))["resting"] == 2


async def test_another_interval_moves_a_workspace_to_another_series(world: World) -> None:
    for number in range(3):
        await world.put_workspace(f"quick-{number}", poll_interval_seconds=60)
    await world.put_workspace("quick-1", poll_interval_seconds=300)
    await world.put_workspace(ISLAND, poll_interval_seconds=60)
    assert await ordinals(world) == {
        HARBOUR: 0,
        ISLAND: 1,
        "quick-0": 0,
        "quick-1": 2,
        "quick-2": 2,
    }


async def test_a_workspace_says_since_when_it_has_its_ordinal(world: World) -> None:
    first = await world.workspace(ISLAND)
    assert first.scheduled_since is not None
    await world.put_workspace(ISLAND, name="Another name")
    assert (await world.workspace(ISLAND)).scheduled_since == first.scheduled_since
    await world.put_workspace(ISLAND, active=False)
    assert (await world.workspace(ISLAND)).scheduled_since is None
    await world.put_workspace(ISLAND)
    second = await world.workspace(ISLAND)
    assert second.scheduled_since is not None
    assert second.scheduled_since > first.scheduled_since


async def test_activations_at_once_take_an_ordinal_each(world: World) -> None:
    names = [f"fleet-{number}" for number in range(8)]
    for name in names[::2]:
        await world.put_workspace(name, active=False)
    async with trio.open_nursery() as nursery:
        for name in names:  # creates and activates in turn
            nursery.start_soon(world.put_workspace, name)
    assert set((await ordinals(world)).values()) == set(range(10))
    assert len(await ordinals(world)) == 10


async def test_an_offset_is_another_place_with_the_same_ordinal(world: World) -> None:
    before = await world.workspace(ISLAND)
    await world.put_workspace(ISLAND, start_offset_seconds=30)
    first = await world.workspace(ISLAND)
    assert (first.start_offset_seconds, first.ordinal) == (30, before.ordinal)
    assert before.scheduled_since is not None
    assert first.scheduled_since is not None
    assert first.scheduled_since > before.scheduled_since
    assert first.config_version > before.config_version
    await world.put_workspace(ISLAND, name="Another name")
    second = await world.workspace(ISLAND)
    assert second.start_offset_seconds == 30
    assert second.scheduled_since == first.scheduled_since
