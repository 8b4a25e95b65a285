"""HTTP/1.1 on one connection: requests in, answers out, every wait bounded.

Owns h11 and the socket's deadlines. Knows no path and no provider.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import h11
import orjson
import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
IDLE_SECONDS: Final = 75.0  # a keep-alive connection without a request is closed
_CHUNK_BYTES: Final = 65_536
_REASONS: Final = {
    200: b"OK",
    204: b"No Content",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    413: b"Content Too Large",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}


class Request(NamedTuple):
    """One request. Header names are lower case; of a repeated query parameter the last counts."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def wants_websocket(self) -> bool:
        return self.headers.get("upgrade", "").lower() == "websocket"


@dataclass(frozen=True, slots=True)
class VendorAnswer:
    """One answer. `when_sent` runs after the last byte was handed to the socket.

    So an answer that could not be sent is not counted.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    when_sent: Callable[[], None] | None = None


class ClientGone(Exception):
    """The client closed, broke the protocol so that no answer is possible, or missed a deadline."""


def json_answer(
    status: int,
    content: Any,
    *,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
    when_sent: Callable[[], None] | None = None,
) -> VendorAnswer:
    body = orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)
    return VendorAnswer(status, body, {"Content-Type": content_type, **(headers or {})}, when_sent)


class Exchange:
    """One connection from a client.

    Call `receive` and `send` in turn. After an upgrade request, `leftover` has the bytes behind it.
    """

    def __init__(self, stream: trio.SocketStream, send_seconds: float) -> None:
        self.stream = stream
        self._send_seconds = send_seconds
        self._connection = h11.Connection(h11.SERVER)
        self.raw_request: h11.Request | None = None

    async def receive(self) -> Request | None:
        """Return the next request, or None if the client ended in order. Raises ClientGone."""
        try:
            with trio.fail_after(IDLE_SECONDS):
                return await self._receive()
        except trio.TooSlowError as error:
            raise ClientGone("no request in time") from error
        except (
            h11.RemoteProtocolError,
            trio.BrokenResourceError,
            trio.ClosedResourceError,
        ) as error:
            raise ClientGone(str(error)) from error

    async def _receive(self) -> Request | None:
        if (
            self._connection.our_state is h11.MUST_CLOSE
            or self._connection.their_state is h11.MUST_CLOSE
        ):
            return None
        if self._connection.our_state is h11.DONE:
            self._connection.start_next_cycle()
        parts: list[bytes] = []
        size = 0
        while True:
            event = self._connection.next_event()
            if event is h11.NEED_DATA:
                await self._allow_body()
                self._connection.receive_data(await self.stream.receive_some(_CHUNK_BYTES))
            elif isinstance(event, h11.Request):
                self.raw_request = event
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
                size += len(event.data)
                if size > MAX_BODY_BYTES:
                    raise ClientGone("the body is too large")
            elif isinstance(event, h11.EndOfMessage):
                return self._request(b"".join(parts))
            else:  # ConnectionClosed, or PAUSED with nothing to come
                return None

    async def _allow_body(self) -> None:
        if self._connection.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            await self.send_raw(self._connection.send(go_on) or b"")

    def _request(self, body: bytes) -> Request:
        # h11 gives EndOfMessage only after a Request.
        assert self.raw_request is not None  # noqa: S101
        target = urlsplit(self.raw_request.target.decode("ascii", "replace"))
        headers = {
            name.decode("ascii"): value.decode("latin-1")
            for name, value in self.raw_request.headers
        }
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        return Request(self.raw_request.method.decode("ascii"), target.path, query, headers, body)

    @property
    def _is_head(self) -> bool:
        return self.raw_request is not None and self.raw_request.method == b"HEAD"

    @property
    def leftover(self) -> bytes:
        """The bytes that the client sent behind its upgrade request."""
        return self._connection.trailing_data[0]

    async def send(self, answer: VendorAnswer) -> None:
        """Send the answer. Raises ClientGone if the client does not take all of it in time."""
        body = b"" if self._is_head else answer.body
        headers = dict(answer.headers)
        if answer.status != 204:  # which must not have a length (RFC 9110 §8.6)
            headers["Content-Length"] = str(len(body))
        head = h11.Response(
            status_code=answer.status,
            headers=list(headers.items()),
            reason=_REASONS.get(answer.status, b""),
        )
        data = b"".join(
            self._connection.send(event) or b""
            for event in (head, h11.Data(data=body), h11.EndOfMessage())
        )
        await self.send_raw(data)
        if answer.when_sent is not None:
            answer.when_sent()

    async def send_raw(self, data: bytes) -> None:
        try:
            with trio.fail_after(self._send_seconds):
                await self.stream.send_all(data)
        except trio.TooSlowError as error:
            raise ClientGone("the client does not read") from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ClientGone(str(error)) from error
