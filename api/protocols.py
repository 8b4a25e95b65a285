"""HTTP/1.1 and h2 as Hypercorn speaks them, without upgrades.

No route of this API is a websocket, and Hypercorn's websocket code raises exceptions on input that
any client can send. So an upgrade request is a plain request here, as RFC 9110 (7.8) allows, and
the framework sees HTTP only. A client speaks h2 by beginning with it ("prior knowledge"), as some
proxies do.

Two more things are refused:

* A request with both Content-Length and Transfer-Encoding is answered 400 (RFC 9112, 6.1). A proxy
  that uses the other header would take the body for another request.
* An h2 connection is closed when it sends far more frames without a request than any client needs.
  Thousands of such frames fit into one read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import h11
import trio
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, WindowUpdated
from h2.settings import SettingCodes, Settings
from hypercorn.events import Closed, RawData
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H2ProtocolAssumedError, H11Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    import h2.events
    from hypercorn.events import Event
    from hypercorn.typing import H11SendableEvent

PIECE_BYTES: Final = 4096  # of a read that are handled before other tasks have their turn
IDLE_FRAMES_AT_ONCE: Final = 400
IDLE_FRAMES_PER_SECOND: Final = 100.0
WINDOW_UPDATE_WEIGHT: Final = 0.02  # small, since a client that reads a large answer sends many


class Http1(H11Protocol):
    """HTTP/1.1 whose requests carry no Upgrade field.

    The head of a response is sent together with the first piece of its body: each write costs as
    much as a hundred updates.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._head = b""  # of a response, not sent yet

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        try:
            data = self.connection.send(event)
        except h11.LocalProtocolError:
            if self.connection.their_state != h11.ERROR:
                raise
            return
        if isinstance(event, h11.Response) and _announces_body(event):
            self._head = data or b""
            return
        data, self._head = self._head + (data or b""), b""
        if data:  # the end of a body of known length is no bytes
            await self.send(RawData(data=data))

    async def _check_protocol(self, event: h11.Request) -> None:
        if event.method == b"PRI":  # else it could only find an upgrade
            await super()._check_protocol(_without_upgrade(event))

    async def _create_stream(self, request: h11.Request) -> None:
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in request.headers}:
            await self._send_error_response(400)
            await self.send(Closed())
            return
        await super()._create_stream(_without_upgrade(request))


class Http2(H2Protocol):
    """h2 with a bound for idle frames, and without extended CONNECT.

    Extended CONNECT (RFC 8441) opens websockets.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._frames_left = float(IDLE_FRAMES_AT_ONCE)
        self._counted_at = trio.current_time()
        self.connection.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: self.config.h2_max_concurrent_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: self.config.h2_max_header_list_size,
            },
        )

    async def handle(self, event: Event) -> None:
        if not isinstance(event, RawData):
            await super().handle(event)
            return
        for start in range(0, max(len(event.data), 1), PIECE_BYTES):
            await super().handle(RawData(data=event.data[start : start + PIECE_BYTES]))
            await trio.lowlevel.checkpoint()

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        if self._is_flood(events):
            self.connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            await self._flush()
            await self.send(Closed())
            return
        await super()._handle_events(events)

    def _is_flood(self, events: Iterable[h2.events.Event]) -> bool:
        now = trio.current_time()
        refilled = self._frames_left + (now - self._counted_at) * IDLE_FRAMES_PER_SECOND
        self._frames_left = min(refilled, IDLE_FRAMES_AT_ONCE) - sum(map(_idle_weight, events))
        self._counted_at = now
        return self._frames_left < 0

    async def _create_stream(self, request: RequestReceived) -> None:
        if (b":method", b"CONNECT") in request.headers:
            self.connection.reset_stream(request.stream_id, ErrorCodes.REFUSED_STREAM)
            return
        await super()._create_stream(request)


class Protocol(ProtocolWrapper):
    """HTTP/1.1, or h2 for a client that begins with the preface of h2."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.protocol = Http1(*self._arguments())

    async def handle(self, event: Event) -> None:
        try:
            await self.protocol.handle(event)
        except H2ProtocolAssumedError as assumed:
            self.protocol = Http2(*self._arguments())
            await self.protocol.initiate()
            if assumed.data:
                await self.protocol.handle(RawData(data=assumed.data))

    def _arguments(self) -> tuple[Any, ...]:
        """Return the arguments of both protocols' constructors, in Hypercorn's order."""
        return (
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.state,
            self.ssl,
            self.client,
            self.server,
            self.send,
        )


def _idle_weight(event: h2.events.Event) -> float:
    """Return a frame's weight in the bound for idle frames; 0.0 for a request or a part of one."""
    match event:
        case RequestReceived() | StreamEnded():
            return 0.0
        case DataReceived():
            return 0.0 if event.data or event.stream_ended else 1.0
        case WindowUpdated():
            return WINDOW_UPDATE_WEIGHT
        case _:
            return 1.0


def _announces_body(response: h11.Response) -> bool:
    """Return whether the length of a body is named: a piece of it follows at once then."""
    return any(name == b"content-length" and value != b"0" for name, value in response.headers)


def _without_upgrade(request: h11.Request) -> h11.Request:
    kept = [(name, value) for name, value in request.headers if name != b"upgrade"]
    if len(kept) == len(request.headers):
        return request
    return h11.Request(
        method=request.method,
        target=request.target,
        http_version=request.http_version,
        headers=kept,
    )
