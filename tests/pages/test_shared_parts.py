"""Parts of pages that scripts fetch: made once for many, and anew for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tests.pages.visiting import Visitor, visit

if TYPE_CHECKING:
    from tests.api.harness import Harness

FETCHED = {"Sec-Fetch-Dest": "empty"}


async def fetch(visitor: Visitor, path: str = "/") -> str:
    answer = await visitor.get(path, headers=FETCHED)
    assert answer.status == 200, answer.body
    return answer.body.decode()


async def test_a_fetch_may_show_what_was_made_just_now(harness: Harness) -> None:
    visitor = await visit(harness)
    await visitor.read("/")
    await harness.report("bus-1", soc_percent=50)
    assert "1 healthy" not in await fetch(visitor)
    assert "1 healthy" in await visitor.read("/")
    assert "1 healthy" in await fetch(visitor)


async def test_viewers_of_other_workspaces_share_nothing(harness: Harness) -> None:
    harness.let_pass(86_400)
    everything, north = await visit(harness), await visit(harness, "north")
    for path in ("/", "/worklist"):
        assert "South" in await fetch(everything, path)
        page = await fetch(north, path)
        assert "North" in page
        assert "South" not in page


async def test_other_filters_share_nothing(harness: Harness) -> None:
    harness.let_pass(86_400)
    visitor = await visit(harness)
    assert "bus-1" in await fetch(visitor, "/worklist?search=bus-1")
    assert ">bus-1<" not in await fetch(visitor, "/worklist?search=bus-2")


async def test_a_shared_part_has_each_viewers_own_frame(harness: Harness) -> None:
    one, other = await visit(harness), await visit(harness)
    pages = [await fetch(one), await fetch(other)]
    tokens = {page.partition('name="csrf" value="')[2][:64] for page in pages}
    assert len(tokens) == 2


async def test_many_fetches_at_once_ask_once(harness: Harness) -> None:
    visitor = await visit(harness)
    found: list[str] = []

    async def look() -> None:
        found.append(await fetch(visitor))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(look)
    assert len({page.partition("<main")[2] for page in found}) == 1
