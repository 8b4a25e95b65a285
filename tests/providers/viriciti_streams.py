"""A client of ViriCiti's stream, as its tests open it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from domain.model import ProviderConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ports.providers import StreamSocket
    from providers.viriciti import ViriCiti
    from providers.viriciti.client import ViriCitiStreamer

KEY = "0f0f-s3cret-key"


def stream_connection(base: str, **settings: Any) -> ProviderConnection:
    return ProviderConnection("acme", "viriciti-1", "viriciti", "stream", base, "env:KEY", settings)


def open_streamer(provider: ViriCiti, base: str, **settings: Any) -> ViriCitiStreamer:
    return provider.open_streamer(
        stream_connection(base, disconnect_timeout_seconds=0.1, **settings), KEY
    )


async def open_and_close(streamer: ViriCitiStreamer) -> None:
    async with streamer.connect():
        pass


async def receive_frames(socket: StreamSocket, count: int) -> list[bytes]:
    """So many frames, however they come together; fails if more come with the last of them."""
    frames: list[bytes] = []
    while len(frames) < count:
        frames += await socket.receive()
    assert len(frames) == count
    return frames


@asynccontextmanager
async def read_on(socket: StreamSocket) -> AsyncIterator[list[bytes]]:
    """The frames that another task reads during the block: without one, no pong is found."""
    frames: list[bytes] = []

    async def read() -> None:
        while True:
            frames.extend(await socket.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        yield frames
        nursery.cancel_scope.cancel()
