"""What the board tells a page: what changed since the page last took something, and all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from api.pages.live_watch import Topic, Watch
from domain.model import Policy
from tests.api.harness import draft
from tests.api.legacy_reads import read_from
from tests.pages.live_page import LivePage, differences

if TYPE_CHECKING:
    from tests.api.harness import Harness

NORTH = Watch(rows=frozenset({"north"}), regions={"devices": Topic.STATES, "cycles": Topic.CYCLES})
ALL = frozenset({"north/bus-1", "north/bus-2", "north/bus-3"})


async def open_page(harness: Harness, watch: Watch = NORTH) -> LivePage:
    """Return a page that has been told everything."""
    page = LivePage(watch)
    page.open(harness.board)
    await harness.board.tick()
    page.take(harness.board)
    return page


async def tick(harness: Harness, page: LivePage) -> int:
    await harness.board.tick()
    return page.take(harness.board)


async def test_a_new_page_is_told_every_row(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50.0)
    page = await open_page(harness)
    assert page.rows.keys() == ALL
    assert page.rows["north/bus-1"]["values"]["soc_percent"][0] == 50.0
    assert await differences(page, harness) == []


async def test_a_page_is_told_only_what_changed(harness: Harness) -> None:
    await harness.report("bus-2", soc_percent=50.0)
    page = await open_page(harness)
    harness.let_pass(1)
    await harness.report("bus-2", soc_percent=51.0)
    page.rows.clear()
    assert await tick(harness, page) == 1
    assert page.rows.keys() == {"north/bus-2"}


async def test_nothing_is_told_while_nothing_changes(harness: Harness) -> None:
    page = await open_page(harness)
    assert await tick(harness, page) == 0


async def test_a_state_flips_by_time_alone(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50.0)
    page = await open_page(harness)
    harness.let_pass(1000)
    await tick(harness, page)
    assert page.states()["north/bus-1"] == "stale"
    assert await differences(page, harness) == []


async def test_a_cycle_changes_the_reasons_of_silent_devices(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50.0)
    page = await open_page(harness)
    harness.let_pass(1000)
    await tick(harness, page)
    before = page.rows["north/bus-1"]["reason"]
    await harness.run_cycle(is_answered=False)
    await tick(harness, page)
    assert page.rows["north/bus-1"]["reason"] != before
    assert "cycles" in page.regions
    assert await differences(page, harness) == []


async def test_a_retired_device_is_gone_from_the_page(harness: Harness) -> None:
    page = await open_page(harness)
    await harness.ask("DELETE", "/workspaces/north/devices/bus-2")
    await tick(harness, page)
    assert page.rows.keys() == ALL - {"north/bus-2"}


async def test_a_new_device_comes_to_the_page(harness: Harness) -> None:
    page = await open_page(harness)
    await harness.stores.registry.put_devices("north", [draft("bus-4")])
    await tick(harness, page)
    assert page.rows.keys() == ALL | {"north/bus-4"}


async def test_one_out_and_one_in_at_once_are_both_noticed(harness: Harness) -> None:
    page = await open_page(harness)
    await harness.ask("DELETE", "/workspaces/north/devices/bus-2")
    await harness.stores.registry.put_devices("north", [draft("bus-4")])
    await tick(harness, page)
    assert page.rows.keys() == ALL - {"north/bus-2"} | {"north/bus-4"}


async def test_a_change_of_policy_changes_the_rows(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50.0)
    harness.let_pass(200)
    page = await open_page(harness)
    await harness.stores.registry.put_workspace(
        "north",
        name="North",
        active=True,
        poll_interval_seconds=300,
        policy=Policy(60.0, 60.0, 120.0, 3600.0),
    )
    await tick(harness, page)
    assert page.states()["north/bus-1"] == "stale"
    assert await differences(page, harness) == []


async def test_a_workspace_that_is_switched_off_says_so(harness: Harness) -> None:
    await harness.report("bus-1", soc_percent=50.0)
    page = await open_page(harness)
    harness.let_pass(1000)
    await harness.ask("PATCH", "/workspaces/north", json={"active": False})
    await tick(harness, page)
    assert page.rows["north/bus-1"]["reason"] == "switched_off"


async def test_missed_ticks_come_as_one_merged_difference(harness: Harness) -> None:
    page = await open_page(harness)
    for value in range(5):
        await harness.report("bus-1", soc_percent=50.0 + value)
        harness.let_pass(5)
        await harness.board.tick()
    assert page.take(harness.board) == 1
    assert page.rows["north/bus-1"]["values"]["soc_percent"][0] == 54.0
    assert await differences(page, harness) == []


async def test_counts_are_those_of_the_list_of_workspaces(harness: Harness) -> None:
    page = await open_page(harness, Watch(counts=None))
    await harness.report("bus-1", soc_percent=50.0)
    await tick(harness, page)
    listed = (await harness.get("/workspaces"))["items"]
    assert page.counts == {item["workspace_id"]: item["counts"] for item in listed}
    assert page.total["healthy"] == 1


async def test_a_page_of_some_rows_is_told_only_those(harness: Harness) -> None:
    watch = Watch(rows=frozenset({"north"}), only=frozenset({"north/bus-3"}))
    page = await open_page(harness, watch)
    await harness.report("bus-1", soc_percent=50.0)
    assert await tick(harness, page) == 0
    assert page.rows.keys() == {"north/bus-3"}


@pytest.mark.parametrize("topic", [Topic.CONFIGURATION, Topic.CYCLES])
async def test_a_region_is_named_after_news_of_its_topic(harness: Harness, topic: Topic) -> None:
    watch = Watch(follows=frozenset({"north"}), regions={"part": topic})
    page = await open_page(harness, watch)
    assert await tick(harness, page) == 0
    if topic is Topic.CYCLES:
        await harness.run_cycle()
    else:
        await harness.ask("PATCH", "/workspaces/north", json={"name": "Far north"})
    await tick(harness, page)
    assert page.regions == ["part"]


async def test_what_the_legacy_system_shows_is_not_live(harness: Harness) -> None:
    page = await open_page(harness)
    await read_from(harness, "legacy")
    await tick(harness, page)
    assert (page.not_live, harness.board.statistics().devices) == ("legacy", 0)
    await read_from(harness, "core")
    await tick(harness, page)
    assert await differences(page, harness) == []


async def test_a_board_without_room_leaves_a_workspace_to_reloading(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.pages.live_board.MAX_DEVICES", 2)
    page = await open_page(harness)
    assert (page.not_live, page.rows) == ("full", {})


async def test_rows_are_kept_for_a_moment_and_then_forgotten(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await open_page(harness)
    page.open_stack.close()
    await harness.board.tick()
    assert harness.board.statistics().devices == 3
    now = trio.current_time()
    monkeypatch.setattr("api.pages.live_board.trio.current_time", lambda: now + 31)
    await harness.board.tick()
    assert harness.board.statistics().devices == 0


async def test_parts_made_of_states_are_named_once_a_minute(harness: Harness) -> None:
    page = await open_page(harness)
    await harness.report("bus-2", soc_percent=50.0)
    named = []
    for _ in range(25):
        await tick(harness, page)
        named += [page.seen] if page.regions == ["devices"] else []
        page.regions = []
    assert named == [12]
