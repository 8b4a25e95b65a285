"""The whole API behind its gate on a real socket: no caller costs another an answer."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING

import trio

from api.addresses import TrustedProxies
from api.app import PREFIX, create_app
from api.gate import GateLimits
from api.in_flight import InFlightLimits
from api.server import serve_http
from tests.api.serving import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from api.traffic import HttpTraffic
    from tests.api.harness import Harness

LIMITS = GateLimits(
    places=InFlightLimits(total=6, per_key=3, without_key=2, per_address=1), wrong_keys_per_second=3
)
WRONG = f"lh_{'0' * 16}_{'0' * 64}"


class Api:
    """A running API, what it counts, and raw requests to it."""

    def __init__(self, harness: Harness, traffic: HttpTraffic, port: int) -> None:
        self._harness = harness
        self._traffic = traffic
        self._port = port

    async def begin(self, start: str, key: str | None, *lines: str) -> trio.SocketStream:
        """Send a request's head; `key` is one of the harness's, or a token."""
        token = None if key is None else self._harness.tokens.get(key, key)
        lines = (f"{start} HTTP/1.1", "Host: a", *lines)
        lines += () if token is None else (f"Authorization: Bearer {token}",)
        stream = await trio.open_tcp_stream("127.0.0.1", self._port)
        await stream.send_all("\r\n".join([*lines, "", ""]).encode())
        return stream

    async def status(self, key: str | None, *lines: str, path: str = f"{PREFIX}/workspaces") -> int:
        async with await self.begin(f"GET {path}", key, *lines) as stream:
            return await status_of(stream)

    async def wait_for_places_taken(self, wanted: int) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            while self._traffic.in_flight != wanted:  # noqa: ASYNC110 - a counter has no event
                await trio.sleep(0.01)


async def status_of(stream: trio.SocketStream) -> int:
    with trio.fail_after(PATIENCE_SECONDS):
        return int((await stream.receive_some(4096)).split(b" ", 2)[1])


@asynccontextmanager
async def open_api(harness: Harness, proxies: TrustedProxies | None = None) -> AsyncIterator[Api]:
    services = harness.make_services(gate_limits=LIMITS, proxies=proxies or TrustedProxies())
    stop = trio.Event()
    serve = partial(
        serve_http, create_app(services), host="127.0.0.1", port=0, stop=stop, graceful_seconds=0.2
    )
    async with trio.open_nursery() as nursery:
        yield Api(harness, services.traffic, await nursery.start(serve))
        stop.set()


async def test_slow_bodies_of_one_key_cost_another_no_answer(harness: Harness) -> None:
    async with open_api(harness) as api:
        head = (
            f"POST {PREFIX}/ingest",
            "ingest",
            "Content-Type: application/json",
            "Content-Length: 100",
        )
        slow = [await api.begin(*head) for _ in range(3)]
        for stream in slow:
            await stream.send_all(b'{"updates')
        await api.wait_for_places_taken(len(slow))
        assert await api.status("ingest") == 503
        assert [await api.status("read") for _ in range(5)] == [200] * 5
        for stream in slow:
            await stream.aclose()


async def test_a_body_that_a_stranger_never_sends_holds_no_place(harness: Harness) -> None:
    async with open_api(harness) as api:
        for key, status in ((WRONG, 401), (None, 401)):
            held = await api.begin(f"POST {PREFIX}/ingest", key, "Content-Length: 100")
            assert await status_of(held) == status
            await held.aclose()
        await api.wait_for_places_taken(0)
        assert await api.status("read") == 200


async def test_wrong_keys_behind_a_proxy_count_for_the_clients_address(
    harness: Harness,
) -> None:
    async with open_api(harness, TrustedProxies([ip_network("127.0.0.1/32")])) as api:
        for client in ("198.51.100.7", "198.51.100.8"):
            forwarded = f"X-Forwarded-For: 203.0.113.1, {client}"
            assert [await api.status(WRONG, forwarded) for _ in range(4)] == [401, 401, 401, 429]
            assert await api.status("read", forwarded) == 200


async def test_nobody_else_chooses_the_address_it_is_counted_under(harness: Harness) -> None:
    async with open_api(harness) as api:
        answers = [
            await api.status(WRONG, f"X-Forwarded-For: 198.51.100.{number}") for number in range(4)
        ]
    assert answers == [401, 401, 401, 429]


async def test_a_429_is_a_problem_that_says_when_to_come_back(harness: Harness) -> None:
    async with open_api(harness) as api:
        for _ in range(3):
            await api.status(WRONG)
        async with await api.begin(f"GET {PREFIX}/workspaces", WRONG) as stream:
            with trio.fail_after(PATIENCE_SECONDS):
                answer = await stream.receive_some(4096)
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"retry-after: 1\r\n" in answer
    assert b"application/problem+json" in answer
