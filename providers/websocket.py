"""WebSocket connections to providers, for every streaming provider.

Owns the TCP and TLS stream, the opening and closing handshakes and their deadlines. It must never
leave a socket behind: trio-websocket's own `open_websocket` (0.12.2) does not close the stream when
the handshake is refused or takes too long, and a connection that is tried for days would use up the
file descriptors. Messages and subscriptions are left to each provider.
"""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio
from trio_websocket import ConnectionRejected, HandshakeError
from wsproto.utilities import LocalProtocolError

from domain.model import FaultClass
from ports.providers import ProviderFault
from providers.answers import describe_answer, error_code_of, media_type_of, no_error_code
from providers.faults import MAX_REASON, describe_target, fault_for_refusal, fault_for_status
from providers.tracing import describe_call, trace_headers
from providers.websocket_frames import MAX_MESSAGE_SIZE
from providers.websocket_handshake import HandshakeCut, NotWebSocket, Opened, shake_hands
from providers.websocket_stream import MessageStream, StreamEnded
from runtime.exception_groups import first_leaf
from runtime.outbound import OutboundRefused
from runtime.spans import span
from runtime.tracing import trace_of_calls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    import httpx

    from providers.http import HttpPool

_TOO_BIG: Final = 1009
_NOT_AS_AGREED: Final = frozenset({1002, 1003, 1007})  # protocol error, unsupported data, bad text
_NOT_FOUND: Final = 404
_DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Address and parameters of a connection. url: ws:// or wss://.

    `read_error_code` finds the code in the body of a refusal.
    """

    url: httpx.URL
    headers: Mapping[str, str] = field(repr=False)
    connect_seconds: float
    close_seconds: float
    read_error_code: Callable[[bytes], str | None] = no_error_code


@dataclass(frozen=True, slots=True)
class OpenerStatistics:
    """Connections of one endpoint, in all."""

    attempts: int
    opened: int
    failed: int  # ended before they were open
    goodbyes_unanswered: int  # the closing handshake was not answered in time


class WebSocketOpener:
    """Opens connections to one endpoint, any number of times, also at the same time."""

    def __init__(self, http: HttpPool, endpoint: Endpoint) -> None:
        self._http = http
        self._endpoint = endpoint
        self._place = describe_target(endpoint.url)
        self._counts: Counter[str] = Counter()

    def statistics(self) -> OpenerStatistics:
        return OpenerStatistics(
            attempts=self._counts["attempts"],
            opened=self._counts["opened"],
            failed=self._counts["failed"],
            goodbyes_unanswered=self._counts["goodbyes_unanswered"],
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[MessageStream]:
        """Connect on entry and close on exit, each within its time.

        Raises ProviderFault when connecting fails. An error of the body comes out as it is. A body
        that is cancelled ends at once.
        """
        self._counts["attempts"] += 1
        deadline = trio.current_time() + self._endpoint.connect_seconds
        stream = await self._open_stream(deadline)
        try:
            connection = MessageStream(stream, await self._shake_hands(stream, deadline))
            self._counts["opened"] += 1
            try:
                yield connection
            finally:
                await self._say_goodbye(connection)
        finally:
            await trio.aclose_forcefully(stream)

    async def _open_stream(
        self, deadline: float
    ) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
        """Open the TCP stream, and TLS with its handshake.

        The handshake is made here: left to the first byte sent, a bad certificate would look like
        silence.
        """
        url = self._endpoint.url
        port = url.port or _DEFAULT_PORTS[url.scheme]
        try:
            with trio.CancelScope(deadline=deadline):
                stream = await self._http.dialler.dial(url.raw_host.decode("ascii"), port)
                return await self._encrypt(stream) if url.scheme == "wss" else stream
        except OutboundRefused as refusal:
            self._counts["failed"] += 1
            raise fault_for_refusal(refusal, self._place) from refusal
        except (OSError, trio.BrokenResourceError) as error:
            self._counts["failed"] += 1
            reason = str(_root_of(error))[:MAX_REASON]
            raise ProviderFault(
                FaultClass.OUTAGE, f"{self._place} cannot be reached ({reason})"
            ) from error
        self._counts["failed"] += 1
        raise self._too_slow()

    async def _encrypt(self, stream: trio.SocketStream) -> trio.SSLStream[trio.SocketStream]:
        encrypted = trio.SSLStream(
            stream,
            self._http.ssl_context,
            server_hostname=self._endpoint.url.raw_host.decode("ascii"),
            https_compatible=True,
        )
        try:
            await encrypted.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return encrypted

    async def _shake_hands(
        self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream], deadline: float
    ) -> Opened:
        """Shake hands until `deadline`. Raises ProviderFault."""
        try:
            with trio.CancelScope(deadline=deadline):
                return await self._ask_to_upgrade(stream)
        except (HandshakeError, LocalProtocolError, NotWebSocket, HandshakeCut) as failure:
            fault = self._fault_of(failure)
        else:
            fault = self._too_slow()
        self._counts["failed"] += 1
        raise fault  # without a cause: the failure holds what the server sent

    async def _ask_to_upgrade(
        self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]
    ) -> Opened:
        url = self._endpoint.url
        with span("GET", "client", trace_id=trace_of_calls()):
            describe_call("GET", url)
            headers = {**self._endpoint.headers, **trace_headers()}
            return await shake_hands(
                stream,
                url.netloc.decode("ascii"),
                url.raw_path.decode("ascii"),
                [(name.encode(), value.encode()) for name, value in headers.items()],
            )

    async def _say_goodbye(self, connection: MessageStream) -> None:
        with trio.move_on_after(self._endpoint.close_seconds) as scope:
            await connection.say_goodbye()
        self._counts["goodbyes_unanswered"] += scope.cancelled_caught

    def _fault_of(self, failure: Exception) -> ProviderFault:
        """Return the fault for a handshake that failed.

        Some statuses mean the same as over HTTP: 401, 403, 429, 404 (the path is wrong), and
        redirects. Any other refusal is an outage, because proxies and restarts answer anything.
        """
        if isinstance(failure, HandshakeCut):
            return ProviderFault(
                FaultClass.OUTAGE, f"{self._place} ended the connection before the stream was open"
            )
        if not isinstance(failure, ConnectionRejected):
            return ProviderFault(FaultClass.PROTOCOL, f"{self._place} does not speak WebSocket")
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in failure.headers
        }
        body = failure.body or b""
        facts = describe_answer(
            media_type_of(headers), len(body), self._endpoint.read_error_code(body)
        )
        fault = fault_for_status(
            failure.status_code, headers, self._place, facts, self._http.clock.wall()
        )
        is_misplaced = failure.status_code == _NOT_FOUND or 300 <= failure.status_code < 400
        if is_misplaced or fault.fault in (FaultClass.CREDENTIALS, FaultClass.QUOTA):
            return fault
        return ProviderFault(FaultClass.OUTAGE, str(fault), retry_after=fault.retry_after)

    def _too_slow(self) -> ProviderFault:
        seconds = self._endpoint.connect_seconds
        return ProviderFault(
            FaultClass.OUTAGE, f"{self._place} did not open the stream within {seconds:g} s"
        )


def closing_fault(ended: StreamEnded) -> ProviderFault:
    """Return the fault that tells why a connection ended.

    Close codes mean what RFC 6455 §7.4.1 says, whichever side found the error.
    """
    reason = ended.reason
    if ended.is_flooded:
        return ProviderFault(
            FaultClass.PROTOCOL, "the stream was flooded with frames that say nothing"
        )
    if reason.code == _TOO_BIG:
        return ProviderFault(
            FaultClass.PROTOCOL, f"the stream held a message of more than {MAX_MESSAGE_SIZE} bytes"
        )
    code = error_code_of(reason.reason)
    closed = f"the stream was closed ({reason.code} {reason.name.lower()})"
    fault = FaultClass.PROTOCOL if reason.code in _NOT_AS_AGREED else FaultClass.OUTAGE
    return ProviderFault(fault, f"{closed}: error {code}" if code else closed)


def _root_of(error: BaseException) -> BaseException:
    """Return the error below a failed connection.

    trio groups the failures of all addresses of a host; the first says as much as any.
    """
    cause = error.__cause__
    return first_leaf(cause) if isinstance(cause, BaseExceptionGroup) else cause or error
