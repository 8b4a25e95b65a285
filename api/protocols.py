"""HTTP/1.1 and h2 as Hypercorn speaks them, without what this service does not offer: upgrades.

No route of this API is a websocket, and Hypercorn's websocket code ends with exceptions on input that any client can
send. So a request to upgrade is a plain request here, as RFC 9110 (7.8) allows, and the framework never sees anything
but HTTP. h2 is spoken by clients that begin with it, as a proxy does that knows.

Two things that any client can send are refused. A request with both Content-Length and Transfer-Encoding is answered
400 (RFC 9112, 6.1): a proxy that goes by the other one would take its body for another request. And an h2 connection
that sends frames which begin no request, more than any purpose needs, is closed; thousands of them fit into one read.
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

PIECE_BYTES: Final = 4096  # of what was read that is handled before another task has its turn
IDLE_FRAMES_AT_ONCE: Final = 400
IDLE_FRAMES_PER_SECOND: Final = 100.0
WINDOW_UPDATE_WEIGHT: Final = 0.02  # whoever reads a large answer sends many


class Http1(H11Protocol):
    """HTTP/1.1 whose requests carry no Upgrade field."""

    async def _check_protocol(self, event: h11.Request) -> None:
        await super()._check_protocol(_without_upgrade(event))

    async def _create_stream(self, request: h11.Request) -> None:
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in request.headers}:
            await self._send_error_response(400)
            await self.send(Closed())
            return
        await super()._create_stream(_without_upgrade(request))


class Http2(H2Protocol):
    """h2 with a bound for idle frames, and without extended CONNECT (RFC 8441), which is how a websocket begins."""

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
    """HTTP/1.1 at first, and h2 for a client that begins with its preface."""

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
        """What both protocols are made of, in Hypercorn's order."""
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
    """How much a frame counts: nothing when it brings a request or a part of one."""
    match event:
        case RequestReceived() | StreamEnded():
            return 0.0
        case DataReceived():
            return 0.0 if event.data or event.stream_ended else 1.0
        case WindowUpdated():
            return WINDOW_UPDATE_WEIGHT
        case _:
            return 1.0


def _without_upgrade(request: h11.Request) -> h11.Request:
    kept = [(name, value) for name, value in request.headers if name != b"upgrade"]
    if len(kept) == len(request.headers):
        return request
    return h11.Request(method=request.method, target=request.target, http_version=request.http_version, headers=kept)
