"""HTTP/1.1 and h2 as Hypercorn speaks them, without what this service does not offer: upgrades.

No route of this API is a websocket, and Hypercorn's websocket code ends with exceptions on input that any client can
send. So a request to upgrade is a plain request here, as RFC 9110 (7.8) allows, and the framework never sees anything
but HTTP. h2 is spoken by clients that begin with it, as a proxy does that knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h11
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings
from hypercorn.events import RawData
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H2ProtocolAssumedError, H11Protocol

if TYPE_CHECKING:
    from h2.events import RequestReceived
    from hypercorn.events import Event


class Http1(H11Protocol):
    """HTTP/1.1 whose requests carry no Upgrade field."""

    async def _check_protocol(self, event: h11.Request) -> None:
        await super()._check_protocol(_without_upgrade(event))

    async def _create_stream(self, request: h11.Request) -> None:
        await super()._create_stream(_without_upgrade(request))


class Http2(H2Protocol):
    """h2 without extended CONNECT (RFC 8441), which is how a websocket begins there."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connection.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: self.config.h2_max_concurrent_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: self.config.h2_max_header_list_size,
            },
        )

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


def _without_upgrade(request: h11.Request) -> h11.Request:
    kept = [(name, value) for name, value in request.headers if name != b"upgrade"]
    if len(kept) == len(request.headers):
        return request
    return h11.Request(method=request.method, target=request.target, http_version=request.http_version, headers=kept)
