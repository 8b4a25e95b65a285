"""Servers that a DSN may lead to instead of PostgreSQL: poolers, and releases that are too old."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import trio

from storage.embedded.owner import choose_owner
from tests.postgres import public_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
_PATIENCE_SECONDS = 10.0
_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)
# What PgBouncer tracks of a client by itself; the rest it refuses, or drops where it is told to.
_TRACKED = {"user", "database", "client_encoding", "application_name", "timezone", "datestyle"}


def dsn_at(port: int, database: str = "lastheard") -> str:
    return f"postgresql://postgres@127.0.0.1:{port}/{database}?sslmode=disable"


@asynccontextmanager
async def listening(handle: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    """A TCP port of this machine whose connections `handle` serves."""

    async def serve(client: trio.SocketStream) -> None:
        async with client:
            with suppress(*_BROKEN):
                await handle(client)

    async with trio.open_nursery() as nursery:
        (listener, *_) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def refusing(sqlstate: str, message: str) -> Callable[[trio.SocketStream], Awaitable[None]]:
    """A server that answers every login with this error."""

    async def handle(client: trio.SocketStream) -> None:
        await read_startup(client)
        fields = {"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": message}
        body = (
            b"".join(name.encode() + text.encode() + b"\0" for name, text in fields.items()) + b"\0"
        )
        await client.send_all(_message(b"E", body))

    return handle


def welcoming(version: str) -> Callable[[trio.SocketStream], Awaitable[None]]:
    """A server of this version that takes the login and then says nothing."""

    async def handle(client: trio.SocketStream) -> None:
        await read_startup(client)
        status = b"".join(
            _message(b"S", f"{name}\0{value}\0".encode())
            for name, value in (("server_version", version), ("client_encoding", "UTF8"))
        )
        login, key, ready = (b"R", bytes(4)), (b"K", bytes(8)), (b"Z", b"I")
        await client.send_all(_message(*login) + status + _message(*key) + _message(*ready))
        async for _ in client:
            pass

    return handle


def forgetful(dsn: str) -> Callable[[trio.SocketStream], Awaitable[None]]:
    """A proxy that drops start-up parameters, as PgBouncer does with `ignore_startup_parameters`.

    It passes everything else on.
    """
    query = parse_qs(urlsplit(dsn).query)
    path = f"{query['host'][0]}/.s.PGSQL.{query.get('port', ['5432'])[0]}"

    async def handle(client: trio.SocketStream) -> None:
        parameters = await read_startup(client)
        kept = {name: value for name, value in parameters.items() if name.lower() in _TRACKED}
        pairs = b"".join(f"{name}\0{value}\0".encode() for name, value in kept.items()) + b"\0"
        async with await trio.open_unix_socket(path) as server, trio.open_nursery() as nursery:
            await server.send_all(struct.pack("!ii", len(pairs) + 8, 3 << 16) + pairs)
            nursery.start_soon(_pass_on, server, client, nursery.cancel_scope)
            await _pass_on(client, server, nursery.cancel_scope)

    return handle


@asynccontextmanager
async def pgbouncer(dsn: str, **settings: str) -> AsyncIterator[str]:
    """A PgBouncer with these settings before a database; its DSN.

    It runs as the user whose socket it needs.
    """
    assert PGBOUNCER is not None
    query, name, owner = parse_qs(urlsplit(dsn).query), urlsplit(dsn).path[1:], choose_owner()
    target = (
        f"host={query['host'][0]} port={query.get('port', ['5432'])[0]} dbname={name} user=postgres"
    )
    with public_folder("lastheard-pgbouncer-") as folder:
        port = _free_port()
        ours = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(port),
            "auth_type": "any",
            "unix_socket_dir": "",
        }
        lines = "\n".join(f"{key} = {value}" for key, value in {**ours, **settings}.items())
        config = folder / "pgbouncer.ini"
        config.write_text(f"[databases]\n{name} = {target}\n[pgbouncer]\n{lines}\n")
        with (folder / "pgbouncer.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: ASYNC220 it takes a moment; killed and reaped below
                [PGBOUNCER, str(config)],
                stdout=log,
                stderr=log,
                user=owner.uid if owner.switched else None,
                group=owner.gid if owner.switched else None,
            )
        try:
            await _until_listening(port)
            yield dsn_at(port, name)
        finally:
            process.kill()
            process.wait()


async def read_startup(client: trio.SocketStream) -> dict[str, str]:
    """The parameters of a StartupMessage."""
    received = b""
    while len(received) < 4 or len(received) < struct.unpack_from("!i", received)[0]:
        chunk = await client.receive_some()
        if not chunk:
            raise trio.BrokenResourceError
        received += chunk
    words = received[8:].rstrip(b"\0").decode().split("\0")
    return dict(zip(words[::2], words[1::2], strict=True))


async def _pass_on(
    source: trio.SocketStream, target: trio.SocketStream, scope: trio.CancelScope
) -> None:
    with suppress(*_BROKEN):
        async for data in source:
            await target.send_all(data)
    scope.cancel()


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


async def _until_listening(port: int) -> None:
    with trio.fail_after(_PATIENCE_SECONDS):
        while True:
            try:
                await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
            except OSError:
                await trio.sleep(0.05)
            else:
                return
