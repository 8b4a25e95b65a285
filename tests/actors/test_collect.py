"""One collection run: pages, cursors, retries and counts."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
import trio

from actors.collect import MAX_WAIT_SECONDS, Collected, Collection
from domain.model import FaultClass
from domain.resource import workspace_resource
from ports.providers import BadRecord, ProviderFault
from runtime.logs import get_logger
from storage.faults import DatabaseAway
from tests.actors.harness import HARBOUR, STEADY
from tests.actors.instants import at
from tests.actors.polling import ScriptedPoller, page
from tests.actors.scripted import outage, refused, sample

if TYPE_CHECKING:
    from trio.testing import MockClock

    from storage.unit.steps import Statement
    from tests.actors.harness import Harness, Shard


async def make_collection(shard: Shard) -> Collection:
    view = await shard.view()
    connection = view.connection(STEADY)
    assert connection is not None
    log = get_logger("test")
    return Collection(connection, view, shard.tools, log, trace_id="trace-1")


async def collect(shard: Shard, poller: ScriptedPoller, cursor: str | None = None) -> Collected:
    return await (await make_collection(shard)).run(poller, cursor)


async def all_judged(shard: Shard) -> None:
    with trio.fail_after(60):
        await shard.ingest.wait_until_judged(workspace_resource(HARBOUR))


async def stored_cursor(harness: Harness) -> str | None:
    fleet = await harness.store.load_fleet(HARBOUR)
    assert fleet is not None
    return fleet.cursors.get(STEADY)


async def test_each_page_is_stored_with_its_cursor_one_after_the_other(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    first = page(sample("bus-1", 1, soc_percent=10), next_page="two")
    second = page(
        sample("bus-1", 2, soc_percent=11), sample("bus-2", 2, soc_percent=20), cursor="c-1"
    )
    poller = ScriptedPoller(first, second)
    collected = await collect(shard, poller, cursor="c-0")
    assert [(call.cursor, call.page) for call in poller.calls] == [("c-0", None), ("c-0", "two")]
    assert poller.calls[0].external_ids == ["x-bus-1", "x-bus-2"]
    await all_judged(shard)
    assert await stored_cursor(harness) == collected.cursor == "c-1"
    assert await harness.sequences("bus-1") == [1, 2]
    assert (collected.pages, collected.records, collected.updates, collected.devices_answered) == (
        2,
        3,
        3,
        2,
    )


@pytest.mark.parametrize("units", [0, 1, 2, 3, 4, 9])
async def test_no_cursor_is_stored_before_all_the_data_it_covers(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock, units: int
) -> None:
    """The process may end after any unit. The first page has more updates than one unit takes."""
    begun = 0

    async def end_after_so_many(statement: Statement) -> None:
        nonlocal begun
        begun += statement.name == "fence"
        if begun > units:
            raise DatabaseAway("the process has ended")

    harness.store.before_each_statement(end_after_so_many)
    nursery.start_soon(shard.ingest.run)
    samples = [sample("bus-1", number, soc_percent=-number % 100) for number in range(-1400, 0)]
    first = page(*samples, next_page="two", cursor="c-1")
    second = page(
        sample("bus-1", 1, soc_percent=1), sample("bus-2", 1, soc_percent=2), cursor="c-2"
    )
    await collect(shard, ScriptedPoller(first, second))
    with trio.move_on_after(60):
        await shard.ingest.wait_until_judged(workspace_resource(HARBOUR))
    cursor = await stored_cursor(harness)
    stored = len(await harness.sequences("bus-1") + await harness.sequences("bus-2"))
    assert stored >= {None: 0, "c-1": 1400, "c-2": 1402}[cursor]
    assert (cursor == "c-2") == (not shard.ingest.statistics().pending)


async def test_a_run_that_fails_on_a_later_page_keeps_the_pages_before(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    first = page(sample("bus-1", 1, soc_percent=10), next_page="two")
    with pytest.raises(ProviderFault):
        await collect(shard, ScriptedPoller(first, refused()))
    await all_judged(shard)
    assert await harness.values("bus-1") == {"soc_percent": 10}
    assert await stored_cursor(harness) is None
    assert harness.edges() == []  # whether the call succeeded is not known before the last page


@pytest.mark.parametrize("end", [1000.0, refused()], ids=["deadline", "fault"])
async def test_a_run_that_is_cut_off_says_nothing_of_devices(
    harness: Harness,
    shard: Shard,
    nursery: trio.Nursery,
    end: Exception | float,
    autojump_clock: MockClock,
) -> None:
    """A page of old records names a bus while newer pages wait: that is no answer about it."""
    nursery.start_soon(shard.ingest.run)
    old = page(sample("bus-1", 1, soc_percent=10), next_page="two", errors={"x-bus-2": "504"})
    collection = await make_collection(shard)
    with trio.move_on_after(60), contextlib.suppress(ProviderFault):
        await collection.run(ScriptedPoller(old, end), None)
    await all_judged(shard)
    assert await harness.values("bus-1") == {"soc_percent": 10}
    rows = harness.store.tables.device_state.of(HARBOUR).values()
    assert {row.statement for row in rows} == {None}


@pytest.mark.parametrize("end", [1000.0, refused()], ids=["deadline", "fault"])
async def test_a_run_that_is_cut_off_keeps_the_cursor_of_its_last_page(
    harness: Harness,
    shard: Shard,
    nursery: trio.Nursery,
    end: Exception | float,
    autojump_clock: MockClock,
) -> None:
    """A page that brought nothing stores its cursor, too; a page that names none stores none."""
    nursery.start_soon(shard.ingest.run)
    pages = [
        page(sample("bus-1", 1, soc_percent=10), next_page="two", cursor="c-1"),
        page(next_page="three", cursor="c-2"),
        page(sample("bus-1", 2, soc_percent=11), next_page="four"),
    ]
    collection = await make_collection(shard)
    with trio.move_on_after(60), contextlib.suppress(ProviderFault):
        await collection.run(ScriptedPoller(*pages, end), "c-0")
    await all_judged(shard)
    assert await stored_cursor(harness) == collection.collected.cursor == "c-2"
    assert await harness.sequences("bus-1") == [1, 2]
    assert [reply.done for reply in collection.collected.replies] == [True] * 3


async def test_a_page_is_asked_for_again_after_an_outage(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    first = page(sample("bus-1", 1, soc_percent=10), next_page="two")
    poller = ScriptedPoller(
        first, outage(), outage(retry_after=4.0), page(sample("bus-1", 2, soc_percent=11))
    )
    await collect(shard, poller)
    assert [call.page for call in poller.calls] == [None, "two", "two", "two"]
    assert poller.calls[3].at - poller.calls[2].at >= 4.0


@pytest.mark.parametrize(
    ("fault", "calls"),
    [
        (outage(), 3),
        (refused(), 1),
        (ProviderFault(FaultClass.QUOTA, "slow down", retry_after=1.0), 1),
        (outage(retry_after=MAX_WAIT_SECONDS + 1), 1),
    ],
    ids=["outage", "credentials", "quota", "wants to be left alone"],
)
async def test_only_a_passing_fault_is_tried_again_and_not_for_ever(
    shard: Shard, fault: ProviderFault, calls: int, autojump_clock: MockClock
) -> None:
    poller = ScriptedPoller(*[fault] * 9)
    with pytest.raises(ProviderFault) as raised:
        await collect(shard, poller)
    assert raised.value is fault
    assert len(poller.calls) == calls


async def test_at_most_a_hundred_unconfigured_devices_are_kept(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    strangers = [sample(f"stranger-{number}", 1, soc_percent=1) for number in range(130)]
    again = [sample("stranger-1", 2, soc_percent=1), sample("bus-1", 2, soc_percent=1)]
    collected = await collect(
        shard, ScriptedPoller(page(*strangers, next_page="two"), page(*again))
    )
    assert (collected.updates, collected.unknown_dropped) == (102, 30)
    await all_judged(shard)
    assert shard.ingest.statistics().reasons == {"unknown_device": 101}
    assert collected.devices_answered == 1


async def test_a_big_page_is_cut_and_the_last_part_has_the_cursor(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    samples = [sample("bus-1", number / 4, soc_percent=number % 100) for number in range(1_200)]
    collected = await collect(shard, ScriptedPoller(page(*samples, cursor="c-1")))
    receipts = [await reply.wait() for reply in collected.replies]
    assert [receipt and len(receipt.results) for receipt in receipts] == [500, 500, 200]
    await all_judged(shard)
    assert await harness.sequences("bus-1") == list(range(1, 1_201))
    assert await stored_cursor(harness) == "c-1"


async def test_an_answer_names_devices_with_or_without_news(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    await trio.sleep(5)
    await collect(shard, ScriptedPoller(page(answered=frozenset(["x-bus-2", "x-stranger"]))))
    await all_judged(shard)
    states = {
        key[1]: state.statement_at for key, state in harness.store.tables.device_state.items()
    }
    assert states == {"bus-1": None, "bus-2": at(5), "ferry-1": None, "ferry-2": None}
    assert harness.edges() == [(STEADY, "call_succeeded", None)]


async def test_malformed_records_are_held_against_their_device(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    bad = (
        BadRecord("x-bus-1", "createdDateTime is missing", b"<first>", occurrences=6),
        BadRecord("x-bus-2", "no number", b"<part>", ("soc_percent",), refused_whole=False),
        BadRecord(None, "vin is missing", b""),
    )
    collected = await collect(shard, ScriptedPoller(page(malformed=bad, malformed_count=8)))
    await all_judged(shard)
    rows = await harness.store.list_rejections(HARBOUR, before=None, reason=None, limit=9)
    assert sorted((row.device_id or "", row.occurrences, row.sample) for row in rows) == [
        ("", 1, None),
        ("bus-1", 6, b"<first>"),
        ("bus-2", 1, b"<part>"),
    ]
    assert {row.reason for row in rows} == {"malformed"}
    states = dict(harness.store.tables.device_state.items())
    assert states[HARBOUR, "bus-1"].last_rejection_reason == "malformed"
    assert states[HARBOUR, "bus-2"].last_rejected_at is None
    assert collected.malformed == 8


async def test_a_page_that_waits_for_room_is_not_fetched_again(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """So at the deadline it can be told whether the provider or the lane kept the run waiting."""
    collection = await make_collection(shard)
    nursery.start_soon(
        collection.run, ScriptedPoller(3.0, page(sample("bus-1", 1, soc_percent=10))), None
    )
    await trio.sleep(1)
    assert collection.collected.asked_at == 0.0
    await trio.sleep(5)
    assert collection.collected.asked_at is None
