"""Who may open which stream, and what it may show. Over HTTP, without a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
import trio

from api.access import Access
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


async def begin(harness: Harness, visitor: Visitor, path: str) -> tuple[int, bytes, dict[str, str]]:
    """Open a stream, and return its status, its first piece and its headers. Then leave."""
    request = Request(path, visitor.cookie or "")
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                harness.client.app.asgi_app, request.scope, request.receive, request.send
            )
            await request.began.wait()
            nursery.cancel_scope.cancel()
    return request.status, request.first, request.headers


class Request:
    """One request as the server makes it. The answer's first piece sets `began`."""

    def __init__(self, path: str, cookie: str) -> None:
        headers = {"host": "localhost", "accept": STREAM, "cookie": f"{COOKIE}={cookie}"}
        self.scope: Any = {
            "type": "http",
            "asgi": {},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), text.encode()) for name, text in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 80),
            "state": {},
            "extensions": {},
        }
        self.began = trio.Event()
        self.status, self.first, self.headers = 0, b"", dict[str, str]()
        self._is_read = False

    async def receive(self) -> Any:
        if self._is_read:
            await trio.sleep_forever()
        self._is_read = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, event: Any) -> None:
        if event["type"] == "http.response.start":
            self.status = event["status"]
            self.headers = {name.decode().lower(): text.decode() for name, text in event["headers"]}
        else:
            self.first = event["body"]
            self.began.set()


@pytest.mark.parametrize("path", STREAMS)
async def test_a_stream_is_not_cached_nor_buffered(harness: Harness, path: str) -> None:
    status, first, headers = await begin(harness, await visit(harness), path)
    assert (status, first) == (200, b"retry: 3000\n\n")
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
