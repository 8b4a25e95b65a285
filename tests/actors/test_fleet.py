"""The configuration that the actors of one workspace use, and how they hear of a change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tests.actors.harness import HARBOUR, LIVE, STEADY

if TYPE_CHECKING:
    from trio.testing import MockClock

    from actors.fleet import FleetView
    from tests.actors.harness import Shard


@pytest.fixture
async def view(shard: Shard) -> FleetView:
    return await shard.view()


async def test_connections_and_devices_are_found_by_provider(
    view: FleetView, autojump_clock: MockClock
) -> None:
    assert view.workspace_id == HARBOUR
    assert [device.device_id for device in view.devices_of(LIVE).values()] == ["ferry-1", "ferry-2"]
    assert view.devices_of(STEADY)["x-bus-2"].vehicle_id == "v-bus-2"
    assert view.devices_of("nobody") == {}
    live, nobody = view.connection(LIVE), view.connection("nobody")
    assert (live and live.transport, nobody) == ("stream", None)


async def test_a_newer_configuration_replaces_the_view_as_a_whole(
    view: FleetView, autojump_clock: MockClock
) -> None:
    before = view.devices_of(LIVE)
    view.replace(replace(view.fleet, devices=()))
    assert view.devices_of(LIVE) == {}
    assert list(before) == ["x-ferry-1", "x-ferry-2"]


async def test_every_waiting_task_hears_of_a_change_once(
    view: FleetView, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    heard: list[int] = []

    async def listen() -> None:
        seen = view.version
        while True:
            seen = await view.wait_changed(seen)
            heard.append(seen)

    nursery.start_soon(listen)
    nursery.start_soon(listen)
    await trio.testing.wait_all_tasks_blocked()
    assert heard == []
    view.replace(view.fleet)
    await trio.testing.wait_all_tasks_blocked()
    view.replace(view.fleet)
    await trio.testing.wait_all_tasks_blocked()
    assert heard == [2, 2, 3, 3]


async def test_a_change_without_a_waiting_task_is_not_lost(
    view: FleetView, autojump_clock: MockClock
) -> None:
    seen = view.version
    view.replace(view.fleet)
    view.replace(view.fleet)
    with trio.fail_after(1):
        assert await view.wait_changed(seen) == 3
