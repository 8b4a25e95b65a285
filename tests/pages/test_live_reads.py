"""What live pages ask: everything once, then what was written since, and marks of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ports.live import LiveQuery

if TYPE_CHECKING:
    from tests.api.harness import Harness

NORTH = frozenset({"north"})
QUERY = LiveQuery(NORTH, NORTH)


async def test_what_was_written_comes_with_one_of_each_connection(harness: Harness) -> None:
    live = harness.stores.live
    as_of = (await live.load_live(QUERY)).as_of
    await harness.report("bus-1", soc_percent=50.0)
    rows = (await live.load_live(QUERY._replace(since=as_of))).rows
    assert {facts.device.device_id for facts in rows} >= {"bus-1", "bus-3"}  # written; any other
    assert "bus-2" not in {facts.device.device_id for facts in rows}


async def test_pages_of_a_question_have_every_device_once(harness: Harness) -> None:
    live, found = harness.stores.live, []
    query = QUERY._replace(limit=1)
    while rows := (await live.load_live(query)).rows:
        found += [facts.device.device_id for facts in rows]
        query = query._replace(after=("north", found[-1]))
    assert found == ["bus-1", "bus-2", "bus-3"]


async def test_a_workspace_may_be_counted_without_its_rows(harness: Harness) -> None:
    answer = await harness.stores.live.load_live(LiveQuery(NORTH, None))
    assert {facts.device.workspace_id for facts in answer.rows} == NORTH
    assert sum(answer.counts["south"].values()) == 3


async def test_kept_configuration_is_read_again_when_it_changed(harness: Harness) -> None:
    live = harness.stores.live
    await live.load_live(QUERY)
    await harness.ask("PATCH", "/workspaces/north", json={"active": False})
    assert not (await live.load_live(QUERY)).rows[0].workspace.active


async def test_marks_differ_after_news_only(harness: Harness) -> None:
    live = harness.stores.live
    before = await live.load_marks(NORTH)
    assert await live.load_marks(NORTH) == before
    await harness.run_cycle()
    after = await live.load_marks(NORTH)
    assert after["north"].cycles != before["north"].cycles
    assert after["north"].configuration == before["north"].configuration
    assert await live.load_marks(frozenset({"nowhere"})) == {}
