"""ViriCiti over the network: the live stream's socket and the state endpoint.

Owns connecting, subscribing and the deadlines of both. What frames mean is wire.py's; reconnecting, when to ping and
what to do with readings are the actor's. A socket reader must read all the time: while its queue is full, the library
reads nothing and therefore answers no ping of the server.
"""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import orjson
import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    ConnectionTimeout,
    HandshakeError,
    WebSocketConnection,
    open_websocket_url,
)
from wsproto.utilities import LocalProtocolError

from actors.ports import FrameVerdict, Page, ProviderFault
from domain.model import FaultClass
from providers.configuration import WEBSOCKET_SCHEMES, join_path
from providers.faults import excerpt_of, fault_for_status, place_of
from providers.http import Call
from providers.viriciti.wire import interpret, interpret_state

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    import httpx

    from providers.http import HttpPool
    from providers.viriciti.settings import ViriCitiSettings

LIVE_PATH: Final = "/api/v2/live"
STATE_PATH: Final = "/api/v2/state"
KEY_HEADER: Final = "x-api-key"
RECEIVE_BUFFER_BYTES: Final = 65_536
MAX_MESSAGE_SIZE: Final = 1024 * 1024
MESSAGE_QUEUE_SIZE: Final = 64
_TOO_BIG: Final = 1009


class ViriCitiSocket:
    """One open connection. Reading and pinging may happen in different tasks."""

    def __init__(self, connection: WebSocketConnection, settings: ViriCitiSettings) -> None:
        self._connection = connection
        self._settings = settings

    async def subscribe(self, external_ids: Sequence[str]) -> None:
        """Ask for all labels of these vehicles. The subscription lasts as long as the connection."""
        for vids in _chunks(external_ids, self._settings.subscription_chunk_size):
            query = dict.fromkeys(vids, self._settings.labels)
            await self._send(orjson.dumps({"vehicles": query}).decode())

    async def _send(self, message: str) -> None:
        seconds = self._settings.send_timeout_seconds
        try:
            with trio.fail_after(seconds):
                await self._connection.send_message(message)
        except trio.TooSlowError as error:
            raise ProviderFault(FaultClass.OUTAGE, f"the stream took no message for {seconds:g} s") from error
        except (ConnectionClosed, LocalProtocolError) as error:
            raise _closing_fault(self._connection) from error

    async def receive(self) -> str | bytes:
        """The next frame. No deadline: silence is for the ping to judge, and a parked fleet may be silent for long."""
        try:
            return await self._connection.get_message()
        except ConnectionClosed as error:
            raise _closing_fault(self._connection) from error

    async def ping(self) -> None:
        """A round trip. The library alone would wait for ever if the connection died before the pong."""
        seconds = self._settings.ping_timeout_seconds
        try:
            with trio.fail_after(seconds):
                await self._connection.ping()
        except trio.TooSlowError as error:
            raise ProviderFault(FaultClass.OUTAGE, f"the stream sent no pong within {seconds:g} s") from error
        except (ConnectionClosed, LocalProtocolError) as error:
            raise _closing_fault(self._connection) from error


class ViriCitiStreamer:
    """The way to the live stream of one fleet; may be connected any number of times, also at once."""

    def __init__(self, http: HttpPool, base_url: httpx.URL, key: str, settings: ViriCitiSettings) -> None:
        self._url = join_path(base_url, LIVE_PATH).copy_with(scheme=WEBSOCKET_SCHEMES[base_url.scheme])
        self._http = http
        self._key = key
        self._settings = settings
        self._rules = settings.rules
        self._counts: Counter[str] = Counter()

    def interpret(self, frame: str | bytes) -> FrameVerdict:
        """See wire.interpret; pure."""
        return interpret(frame, self._rules)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[ViriCitiSocket]:
        """Connects on entry (ProviderFault when that fails), says goodbye on exit, each within its timeout.

        What the body raises comes out as it is: a goodbye that the peer does not return changes nothing.
        """
        body_error: BaseException | None = None
        failures: list[BaseException] = []
        is_open = False
        self._counts["attempts"] += 1
        try:
            async with self._open() as connection:
                is_open = True
                self._counts["opened"] += 1
                try:
                    yield ViriCitiSocket(connection, self._settings)
                except BaseException as error:
                    body_error = error
                    raise
        # The library unwraps most of its exception groups, but promises none of it.
        except* (HandshakeError, LocalProtocolError) as group:
            failures.extend(_leaves(group))
        if failures and not is_open:
            self._counts["failed"] += 1
            raise self._opening_fault(failures[0]) from failures[0]
        if failures:
            self._counts["goodbyes_unanswered"] += 1
            _settle(failures[0], body_error)

    def statistics(self) -> dict[str, Any]:
        return {name: self._counts[name] for name in ("attempts", "opened", "failed", "goodbyes_unanswered")}

    def _open(self) -> Any:
        return open_websocket_url(
            str(self._url),
            self._http.ssl_context if self._url.scheme == "wss" else None,
            extra_headers=[(KEY_HEADER.encode(), self._key.encode())],
            message_queue_size=MESSAGE_QUEUE_SIZE,
            max_message_size=MAX_MESSAGE_SIZE,
            receive_buffer_size=RECEIVE_BUFFER_BYTES,
            connect_timeout=self._settings.connect_timeout_seconds,
            disconnect_timeout=self._settings.disconnect_timeout_seconds,
        )

    def _opening_fault(self, error: BaseException) -> ProviderFault:
        place = place_of(self._url)
        if isinstance(error, ConnectionRejected):
            return self._rejection_fault(error, place)
        if isinstance(error, ConnectionTimeout):
            seconds = self._settings.connect_timeout_seconds
            return ProviderFault(FaultClass.OUTAGE, f"{place} did not open the stream within {seconds:g} s")
        return ProviderFault(FaultClass.OUTAGE, f"{place} cannot be reached ({error.__cause__ or error})")

    def _rejection_fault(self, error: ConnectionRejected, place: str) -> ProviderFault:
        """401, 403 and 429 as over HTTP; anything else is an outage, because proxies and restarts answer anything."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in error.headers}
        excerpt = excerpt_of((error.body or b"")[:4096], (self._key,))
        fault = fault_for_status(error.status_code, headers, place, excerpt, self._http.clock.wall())
        if fault.fault in (FaultClass.CREDENTIALS, FaultClass.QUOTA):
            return fault
        return ProviderFault(FaultClass.OUTAGE, str(fault), retry_after=fault.retry_after)


class StatePoller:
    """Last known readings of the fleet, so many vehicles a call; a page token is the number of the next chunk.

    Stateless, so there is no cursor: every run asks about every vehicle.
    """

    def __init__(self, http: HttpPool, base_url: httpx.URL, key: str, settings: ViriCitiSettings) -> None:
        self._http = http
        self._url = join_path(base_url, STATE_PATH)
        self._key = key
        self._settings = settings
        self._rules = settings.rules

    async def fetch(self, external_ids: Sequence[str], cursor: str | None, page: str | None) -> Page:
        """One chunk. The ids must be the same, in the same order, for all pages of a run."""
        del cursor
        size = self._settings.state_chunk_size
        chunk = 0 if page is None else int(page)
        vids = external_ids[chunk * size : (chunk + 1) * size]
        if not vids:
            return Page((), frozenset())
        answer = interpret_state(await self._http.fetch(self._call(vids)), vids, self._rules)
        has_more = len(external_ids) > (chunk + 1) * size
        return answer._replace(next_page=str(chunk + 1) if has_more else None)

    def _call(self, vids: Sequence[str]) -> Call:
        return Call(
            method="POST",
            url=self._url,
            headers={KEY_HEADER: self._key, "Content-Type": "application/json", "Accept": "application/json"},
            content=orjson.dumps(dict.fromkeys(vids, self._settings.labels)),
            deadline_seconds=self._settings.request_deadline_seconds,
            secrets=(self._key,),
        )


def _settle(failure: BaseException, body_error: BaseException | None) -> None:
    """A failure of the library on the way out must not hide why the body ended.

    Its reader task also fails (wsproto refuses to answer a ping after a close frame) while the body is still at it; the
    body is then cancelled by the library's nursery, which has absorbed that cancellation by now.
    """
    if isinstance(failure, LocalProtocolError) and isinstance(body_error, trio.Cancelled):
        raise ProviderFault(FaultClass.PROTOCOL, "the stream went on after its end") from failure
    if body_error is not None and not isinstance(body_error, trio.Cancelled):
        raise body_error


def _closing_fault(connection: WebSocketConnection) -> ProviderFault:
    """Close codes are undocumented, so only the one we sent ourselves has a meaning of its own."""
    reason = connection.closed
    if reason is None:
        return ProviderFault(FaultClass.PROTOCOL, "the stream ended: its bytes were no valid WebSocket frames")
    if reason.code == _TOO_BIG:
        return ProviderFault(FaultClass.PROTOCOL, f"the stream sent a message of more than {MAX_MESSAGE_SIZE} bytes")
    said = excerpt_of((reason.reason or "").encode("utf-8", "replace"), ())
    return ProviderFault(
        FaultClass.OUTAGE, f"the stream was closed ({reason.code} {reason.name.lower()}) {said}".strip()
    )


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _chunks(ids: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(ids)
    while chunk := list(islice(rest, size)):
        yield chunk
