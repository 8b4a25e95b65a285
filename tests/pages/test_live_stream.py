"""The stream of a page: what it sends when, how it resumes, and why it ends."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import orjson
import pytest
import trio

from api.pages.live_limits import StreamLimits
from api.pages.live_stream import Standing, stream_events
from api.pages.live_watch import Watch
from runtime.faults import EnvironmentFault
from tests.pages.live_page import LivePage, parse_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from tests.api.harness import Harness

NORTH = Watch(rows=frozenset({"north"}))


async def may_go_on() -> Standing:
    return Standing.GOOD


async def is_signed_out() -> Standing:
    return Standing.SIGNED_OUT


async def cannot_be_asked() -> Standing:
    raise EnvironmentFault("the database is away")


def opened(
    harness: Harness, last_id: str = "", look: object = may_go_on, **limits: float
) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
    """Return an open stream, which is closed at the end of the block."""
    events = stream_events(
        harness.board,
        NORTH,
        look,  # type: ignore[arg-type]
        last_id=last_id,
        limits=StreamLimits(**limits),
    )
    return aclosing(events)  # type: ignore[type-var]


async def next_of(events: AsyncIterator[bytes], harness: Harness | None = None) -> dict[str, str]:
    """Return the next event that has a name. A harness ticks first."""
    if harness is not None:
        await harness.board.tick()
    with trio.fail_after(30):
        while True:
            event = parse_event(await anext(events))
            if "event" in event:
                return event


async def test_a_stream_begins_with_everything_and_an_id(harness: Harness) -> None:
    async with opened(harness) as events:
        assert parse_event(await anext(events)) == {"retry": "3000"}
        event = await next_of(events, harness)
    document = orjson.loads(event["data"])
    assert (event["event"], event["id"]) == ("change", f"{harness.board.name}-1")
    assert (document["reset"], len(document["rows"])) == (True, 3)


async def test_a_page_that_comes_back_is_told_what_it_missed(harness: Harness) -> None:
    async with opened(harness) as events:
        await anext(events)
        last_id = (await next_of(events, harness))["id"]
    await harness.report("bus-2", soc_percent=50.0)
    async with opened(harness, last_id) as events:
        await anext(events)
        document = orjson.loads((await next_of(events, harness))["data"])
    assert (document.get("reset"), [*document["rows"]]) == (None, ["north/bus-2"])
    assert harness.board.statistics().resumed == 1


@pytest.mark.parametrize("last_id", ["other-1", "nonsense", "-", "NAME-99999", "NAME-\u0661"])
async def test_an_id_that_is_not_known_brings_everything(harness: Harness, last_id: str) -> None:
    async with opened(harness, last_id.replace("NAME", harness.board.name)) as events:
        await anext(events)
        document = orjson.loads((await next_of(events, harness))["data"])
    assert document["reset"]
    assert harness.board.statistics().started_anew == 1


async def test_a_slow_page_gets_one_difference_for_all_it_missed(harness: Harness) -> None:
    async with opened(harness, beat=1e6, check=1e6) as events:  # nothing else wakes it
        await anext(events)
        await next_of(events, harness)
        for value in range(9):
            await harness.report("bus-1", soc_percent=float(value))
            harness.let_pass(1)
            await harness.board.tick()
        document = orjson.loads((await next_of(events))["data"])
    assert document["rows"]["north/bus-1"]["values"]["soc_percent"][0] == 8.0


async def test_a_quiet_stream_gives_signs_of_life(harness: Harness) -> None:
    async with opened(harness, beat=0.01) as events:
        await anext(events)
        await next_of(events, harness)
        event = await next_of(events)
    assert (event["event"], orjson.loads(event["data"])["behind"]) == ("beat", False)


async def test_a_page_is_told_when_the_database_is_away(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise EnvironmentFault("the database is away")

    async with opened(harness, beat=0.01) as events:
        await anext(events)
        await next_of(events, harness)
        monkeypatch.setattr(harness.board, "tick", fail)
        await harness.board.try_tick()
        event = await next_of(events)
    assert orjson.loads(event["data"])["behind"]


async def test_a_signed_out_page_is_told_so_and_its_stream_ends(harness: Harness) -> None:
    async with opened(harness, look=is_signed_out, check=0.0) as events:
        await anext(events)
        assert (await next_of(events))["event"] == "signed-out"
        assert [event async for event in events] == []


async def test_a_check_that_cannot_be_made_ends_nothing(harness: Harness) -> None:
    async with opened(harness, look=cannot_be_asked, check=0.0) as events:
        await anext(events)
        assert (await next_of(events, harness))["event"] == "change"


async def test_a_stream_ends_after_its_life(harness: Harness) -> None:
    async with opened(harness, life=0.0) as events:
        await anext(events)
        assert await next_of(events) == {"retry": "3000", "event": "ending", "data": "{}"}


async def test_every_stream_ends_with_the_shard(harness: Harness) -> None:
    async with opened(harness) as events:
        await anext(events)
        await next_of(events, harness)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_end_soon, harness)
            assert await next_of(events) == {"retry": "1000", "event": "ending", "data": "{}"}
    assert harness.board.statistics().pages == 0


async def _end_soon(harness: Harness) -> None:
    await trio.testing.wait_all_tasks_blocked()
    harness.board.end()


async def test_a_large_difference_comes_in_pieces(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.pages.live_difference.DOCUMENT_BYTES", 1)
    page = LivePage(NORTH)
    async with opened(harness) as events:
        await anext(events)
        first = await next_of(events, harness)
        page.apply(orjson.loads(first["data"]))
        while "id" not in first:
            first = await next_of(events)
            page.apply(orjson.loads(first["data"]))
    assert page.rows.keys() == {"north/bus-1", "north/bus-2", "north/bus-3"}
