"""Clients of a simulator, as its tests over real sockets use them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import trio
from trio_websocket import WebSocketConnection, wrap_client_stream

from tests.simulator.conftest import HARBOUR_KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from simulator.server import Simulator

ALL = {
    "vehicles": {
        f"bus_{number:04d}": ["gps", "soc", "speed", "power", "odo"] for number in range(1, 4)
    }
}


@asynccontextmanager
async def listening(
    simulator: Simulator,
    query: object = ALL,
    *,
    resource: str = f"/api/v2/live?apiKey={HARBOUR_KEY}",
) -> AsyncIterator[WebSocketConnection]:
    """A subscribed client.

    It closes its stream itself: trio-websocket leaves it open after a server's close.
    """
    stream = await trio.open_tcp_stream("127.0.0.1", simulator.port)
    try:
        async with trio.open_nursery() as nursery:
            connection = await wrap_client_stream(nursery, stream, "simulator", resource)
            await connection.send_message(
                query if isinstance(query, str) else orjson.dumps(query).decode()
            )
            yield connection
            with trio.move_on_after(1):
                await connection.aclose()
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream)


async def shake_hands(
    http: httpx.AsyncClient, key: str | None = None, path: str = "/api/v2/live"
) -> httpx.Response:
    """A handshake that is expected to be refused: the answer to it."""
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    headers["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    return await http.get(path, headers=headers | ({"x-api-key": key} if key else {}))


async def hear(connection: WebSocketConnection) -> Any:
    return orjson.loads(await connection.get_message())


def client(simulator: Simulator) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=simulator.http_url, trust_env=False, timeout=5)


def parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
