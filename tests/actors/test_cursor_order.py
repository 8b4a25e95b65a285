"""A cursor is never ahead of its data, in the mailbox or in what a run says it has reached."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import pytest
import trio

from actors.collect import Collection
from actors.lanes import LANES
from ports.providers import BadRecord
from runtime.logs import get_logger
from tests.actors.harness import STEADY, update
from tests.actors.polling import ScriptedPoller, page
from tests.actors.scripted import sample

if TYPE_CHECKING:
    from trio.testing import MockClock

    from actors.ingest import IngestActor
    from domain.model import Submission
    from ports.providers import Page
    from tests.actors.harness import Shard


class Watched:
    """The shard's ingest actor; `taken` is what it was handed, in order."""

    def __init__(self, shard: Shard) -> None:
        self._ingest = shard.ingest
        self.taken: list[Submission] = []

    async def submit(self, submission: Submission) -> None:
        await self._ingest.submit(submission)
        self.taken.append(submission)

    @property
    def steps(self) -> list[tuple[int, str | None]]:
        """Updates and cursor of each submission."""
        return [(len(one.updates), one.cursor and one.cursor.cursor) for one in self.taken]


async def make_collection(shard: Shard, ingest: Watched) -> Collection:
    view = await shard.view()
    connection = view.connection(STEADY)
    assert connection is not None
    watched = cast("IngestActor", ingest)
    tools = replace(shard.tools, ingest=watched)
    return Collection(connection, view, tools, get_logger("test"), trace_id="trace-1")


def pages_of(*sizes: int) -> list[Page]:
    """Pages of so many samples, each with a cursor named for it."""
    return [
        page(
            *(
                sample("bus-1", 10 * number + index / 1000, soc_percent=index % 100)
                for index in range(size)
            ),
            cursor=f"c-{number}",
            next_page=None if number == len(sizes) else f"page-{number + 1}",
        )
        for number, size in enumerate(sizes, 1)
    ]


async def test_a_cursor_goes_with_the_last_part_of_its_page(
    shard: Shard, autojump_clock: MockClock
) -> None:
    ingest = Watched(shard)
    collection = await make_collection(shard, ingest)
    await collection.run(ScriptedPoller(*pages_of(1_200, 3, 0, 501)), "c-0")
    assert ingest.steps == [
        (500, None),
        (500, None),
        (200, "c-1"),
        (3, "c-2"),
        (0, "c-3"),
        (500, None),
        (1, "c-4"),
    ]


async def test_facts_of_the_whole_run_go_with_its_last_part(
    shard: Shard, autojump_clock: MockClock
) -> None:
    ingest = Watched(shard)
    collection = await make_collection(shard, ingest)
    bad = BadRecord(None, "not an object", b"<bad>")
    malformed = page(*pages_of(501)[0].samples, malformed=(bad,), malformed_count=1)
    await collection.run(ScriptedPoller(malformed), "c-0")
    first, last = ingest.taken
    assert (first.statements, first.facts, first.invalid) == ((), (), ())
    assert [fact.kind for fact in last.facts] == ["call_succeeded", "readable"]
    assert len(last.invalid) == 1
    assert [(one.kind, one.device_ids) for one in last.statements] == [("named", ("bus-1",))]


async def test_updates_keep_the_order_of_their_page(
    shard: Shard, autojump_clock: MockClock
) -> None:
    """Oldest first: what is stored of a page that was cut off must not make the rest stale."""
    ingest = Watched(shard)
    collection = await make_collection(shard, ingest)
    await collection.run(ScriptedPoller(*pages_of(1_200, 700)), "c-0")
    times = [one.readings[0].observed_at for part in ingest.taken for one in part.updates]
    assert len(times) == 1_900
    assert all(earlier <= later for earlier, later in pairwise(times))


@pytest.mark.parametrize("parts_with_room", [0, 1, 2])
async def test_a_page_without_room_does_not_move_the_cursor(
    shard: Shard, parts_with_room: int, autojump_clock: MockClock
) -> None:
    """The deadline ends the run while a part of the second page waits for its place in the lane."""
    ingest = Watched(shard)
    collection = await make_collection(shard, ingest)
    first, second = pages_of(10, 1_200)
    room = 10 + 500 * parts_with_room
    for _ in range(LANES["poll"].capacity - room):
        shard.send(update("bus-2", 1, soc_percent=1), origin="poll")
    with trio.move_on_after(60):
        await collection.run(ScriptedPoller(first, second), "c-0")
    assert ingest.steps == [(10, "c-1")] + [(500, None)] * parts_with_room
    assert collection.collected.cursor == "c-1"
    assert len(collection.collected.replies) == 1 + parts_with_room
    assert shard.ingest.statistics().mailbox.lanes["poll"].waiting_size == LANES["poll"].capacity
