"""Who may open which stream, and what it may show. Over HTTP, without a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from api.pages.live_watch import Watch
from api.pages.viewer import COOKIE
from tests.pages.visiting import Visitor, visit

if TYPE_CHECKING:
    from tests.api.harness import Harness

STREAM = "text/event-stream"
STREAMS = [
    "/live",
    "/worklist/live",
    "/plan/live",
    "/workspaces/north/live",
    "/workspaces/north/devices/bus-1/live",
    "/workspaces/north/admin/live",
]


async def begin(harness: Harness, visitor: Visitor, path: str) -> tuple[int, str, dict[str, str]]:
    """Open a stream, and return its status, its first piece and its headers. Then leave."""
    headers = {"Accept": STREAM, "Cookie": f"{COOKIE}={visitor.cookie}"}
    async with harness.client.request(path, headers=headers) as connection:
        await connection.send_complete()
        first = (await connection.receive()).decode()
        found = {name.lower(): value for name, value in (connection.headers or {}).items()}
        status = connection.status_code or 0
        await connection.disconnect()
    return status, first, found


@pytest.mark.parametrize("path", STREAMS)
async def test_a_stream_is_not_cached_nor_buffered(harness: Harness, path: str) -> None:
    status, first, headers = await begin(harness, await visit(harness), path)
    assert (status, first) == (200, "retry: 3000\n\n")
    assert headers["content-type"] == f"{STREAM}; charset=utf-8"
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
    assert "content-encoding" not in headers


@pytest.mark.parametrize("path", STREAMS)
async def test_nobody_has_a_stream(harness: Harness, path: str) -> None:
    answer = await Visitor(harness).get(path, accept=STREAM)
    assert answer.status == 401


async def test_a_limited_key_has_no_stream_of_another_workspace(harness: Harness) -> None:
    visitor = await visit(harness, "north")
    assert (await visitor.get("/workspaces/south/live", accept=STREAM)).status == 404


async def test_a_watch_is_limited_to_what_the_viewer_sees() -> None:
    from api.access import Access

    watch = Watch(rows=frozenset({"north", "south"}), counts=None, follows=frozenset({"south"}))
    seen = watch.limited_to(Access("key", frozenset({"read"}), frozenset({"north"})))
    north = frozenset({"north"})
    assert (seen.rows, seen.counts, seen.follows) == (north, north, frozenset())


async def test_an_ending_shard_opens_no_stream(harness: Harness) -> None:
    visitor = await visit(harness)
    harness.board.end()
    answer = await visitor.get("/live", accept=STREAM)
    assert (answer.status, "retry-after" in answer.headers) == (503, True)
    assert orjson.loads(answer.body)["status"] == 503
