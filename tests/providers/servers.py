"""Tiny servers on loopback, for what only a real socket can show."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import TYPE_CHECKING

import h11
import trio
from trio_websocket import WebSocketRequest, serve_websocket

from runtime.dialling import Dialler
from runtime.outbound import Allowance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

CHUNK = 65_536


@dataclass(frozen=True)
class Asked:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = "Callable[[Asked], Reply | Awaitable[Reply]]"


def loopback_dialler() -> Dialler:
    """A dialler for the servers below: the setting names loopback, as in a demo."""
    return Dialler(Allowance.parse("127.0.0.1"))


@asynccontextmanager
async def tcp_server(handler: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    """The port. Clients that go away are nothing special."""

    async def serve(stream: trio.SocketStream) -> None:
        try:
            await handler(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            return

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def http_server(answer: Callable[[Asked], Reply | Awaitable[Reply]]) -> AsyncIterator[str]:
    """The base address of a server that answers what `answer` says, keeping connections alive."""

    async def serve(stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        while asked := await _next_request(stream, connection):
            reply = answer(asked)
            await _send(stream, connection, await reply if isawaitable(reply) else reply)
            if connection.our_state is h11.MUST_CLOSE:
                break
            connection.start_next_cycle()

    async with tcp_server(serve) as port:
        yield f"http://127.0.0.1:{port}"


async def _next_request(stream: trio.SocketStream, connection: h11.Connection) -> Asked | None:
    request, body = None, b""
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(CHUNK))
            case h11.Request() as event:
                request = event
            case h11.Data(data=data):
                body += bytes(data)
            case h11.EndOfMessage() if request is not None:
                headers = {name.decode(): value.decode() for name, value in request.headers}
                return Asked(request.method.decode(), request.target.decode(), headers, body)
            case _:
                return None


async def _send(stream: trio.SocketStream, connection: h11.Connection, reply: Reply) -> None:
    headers = {"Content-Length": str(len(reply.body)), **reply.headers}
    response = h11.Response(status_code=reply.status, headers=list(headers.items()))
    data = connection.send(response) or b""
    data += connection.send(h11.Data(data=reply.body)) or b""
    data += connection.send(h11.EndOfMessage()) or b""
    await stream.send_all(data)


@asynccontextmanager
async def websocket_server(
    handler: Callable[[WebSocketRequest], Awaitable[None]],
) -> AsyncIterator[str]:
    """The base address (http) of a server whose every handshake goes to `handler`."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, handler, "127.0.0.1", 0, None)
        yield f"http://127.0.0.1:{server.port}"
        nursery.cancel_scope.cancel()
