"""A client for latencies: one connection that stays open, and little CPU of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Self

import trio

if TYPE_CHECKING:
    from types import TracebackType

CHUNK: Final = 1 << 18
ANSWER_SECONDS: Final = 30.0
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


class PlainClient:
    """Asks one question after the other. Every answer must be 200 and state its length."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key

    async def __aenter__(self) -> Self:
        self._stream = await trio.open_tcp_stream("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stream.aclose()

    async def get(self, path: str) -> bytes:
        """Return the body. Raises RuntimeError for another status, and trio.TooSlowError."""
        request = f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self._key}\r\n\r\n"
        with trio.fail_after(ANSWER_SECONDS):
            await self._stream.send_all(request.encode())
            received = bytearray()
            while (end := received.find(b"\r\n\r\n")) < 0:
                received += await self._receive()
            length = _LENGTH.search(received, 0, end)
            if not received.startswith(b"HTTP/1.1 200") or length is None:
                raise RuntimeError(f"{path} answers {bytes(received[:500])!r}")
            missing = end + 4 + int(length[1]) - len(received)
            parts = [bytes(received[end + 4 :])]
            while missing > 0:
                parts.append(await self._receive())
                missing -= len(parts[-1])
            return b"".join(parts)

    async def _receive(self) -> bytes:
        piece = await self._stream.receive_some(CHUNK)
        if not piece:
            raise RuntimeError("the service closed the connection")
        return bytes(piece)
