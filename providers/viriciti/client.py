"""ViriCiti over the network: the live stream's socket and the state endpoint.

Owns subscribing, pinging and asking for state, and the deadlines of each. wire.py reads the frames.
The actor decides when to reconnect and to ping, and what to do with readings. A socket's reader
must read all the time: its reading answers the server's pings, too.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

import orjson
import trio

from domain.model import FaultClass
from ports.providers import Page, ProviderFault
from providers.configuration import WEBSOCKET_SCHEMES, join_path
from providers.http import NO_CONTENT, Call, CallTurn
from providers.viriciti.answers import NOTHING_NEW, interpret_state
from providers.viriciti.errors import read_error_code
from providers.viriciti.wire import interpret
from providers.websocket import Endpoint, WebSocketOpener, closing_fault
from providers.websocket_stream import StreamEnded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    import httpx

    from ports.providers import FrameVerdict
    from providers.http import HttpPool
    from providers.viriciti.settings import ViriCitiSettings
    from providers.websocket import OpenerStatistics
    from providers.websocket_stream import MessageStream

LIVE_PATH: Final = "/api/v2/live"
STATE_PATH: Final = "/api/v2/state"
KEY_HEADER: Final = "x-api-key"
_WITHOUT_CONTENT: Final = " without content"  # at the end of a page token


class ViriCitiSocket:
    """One open connection. Reading and pinging may happen in different tasks."""

    def __init__(self, connection: MessageStream, settings: ViriCitiSettings) -> None:
        self._connection = connection
        self._settings = settings

    async def subscribe(self, external_ids: Sequence[str]) -> None:
        """Ask for all labels of these vehicles. Raises ProviderFault.

        The subscription lasts as long as the connection.
        """
        for vids in _chunks(external_ids, self._settings.subscription_chunk_size):
            query = dict.fromkeys(vids, self._settings.labels)
            await self._send(orjson.dumps({"vehicles": query}).decode())

    async def _send(self, message: str) -> None:
        seconds = self._settings.send_timeout_seconds
        try:
            with trio.fail_after(seconds):
                await self._connection.send(message)
        except trio.TooSlowError as error:
            raise ProviderFault(
                FaultClass.OUTAGE, f"the stream took no message for {seconds:g} s"
            ) from error
        except StreamEnded as ended:
            raise closing_fault(ended) from ended

    async def receive(self) -> Sequence[bytes]:
        """Return the next frames. Raises ProviderFault when the connection has ended.

        No deadline: a parked fleet may be silent for long, and the ping finds a dead connection.
        """
        try:
            return await self._connection.receive()
        except StreamEnded as ended:
            raise closing_fault(ended) from ended

    def behind_seconds(self) -> float:
        """See StreamSocket.behind_seconds."""
        return self._connection.behind_seconds()

    async def ping(self) -> None:
        """Make a round trip within the ping's deadline. Raises ProviderFault."""
        seconds = self._settings.ping_timeout_seconds
        try:
            with trio.fail_after(seconds):
                await self._connection.ping()
        except trio.TooSlowError as error:
            raise ProviderFault(
                FaultClass.OUTAGE, f"the stream sent no pong within {seconds:g} s"
            ) from error
        except StreamEnded as ended:
            raise closing_fault(ended) from ended


class ViriCitiStreamer:
    """Opens the live stream of one fleet.

    It may be connected any number of times, also at the same time.
    """

    def __init__(
        self, http: HttpPool, base_url: httpx.URL, key: str, settings: ViriCitiSettings
    ) -> None:
        endpoint = Endpoint(
            url=join_path(base_url, LIVE_PATH).copy_with(scheme=WEBSOCKET_SCHEMES[base_url.scheme]),
            headers={KEY_HEADER: key},
            connect_seconds=settings.connect_timeout_seconds,
            close_seconds=settings.disconnect_timeout_seconds,
            read_error_code=read_error_code,
        )
        self._opener = WebSocketOpener(http, endpoint)
        self._settings = settings
        # See wire.interpret; pure. A method around it would cost each frame a call.
        self.interpret: Callable[[str | bytes], FrameVerdict] = partial(
            interpret, rules=settings.rules
        )

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[ViriCitiSocket]:
        """Connect; see WebSocketOpener.open.

        Raises ProviderFault on entry. An error of the body comes out as it is.
        """
        async with self._opener.open() as connection:
            yield ViriCitiSocket(connection, self._settings)

    def statistics(self) -> OpenerStatistics:
        return self._opener.statistics()


class StatePoller:
    """Polls the last known readings of the fleet, so many vehicles a call.

    A page token is the number of the next chunk, marked if an answer of the run had no content.
    Stateless, so there is no cursor: every run asks about every vehicle, and is a roster once it
    got to its end. An answer without content leaves nobody out: then the run is complete instead.
    """

    def __init__(
        self,
        http: HttpPool,
        base_url: httpx.URL,
        key: str,
        settings: ViriCitiSettings,
        *,
        workspace_id: str,
    ) -> None:
        self._http = http
        self._share = http.share(workspace_id)
        self._turn = CallTurn()
        self._url = join_path(base_url, STATE_PATH)
        self._key = key
        self._settings = settings
        self._rules = settings.rules

    @property
    def is_queued(self) -> bool:
        return self._turn.is_queued

    async def fetch(
        self, external_ids: Sequence[str], cursor: str | None, page: str | None
    ) -> Page:
        """Fetch one chunk. Raises ProviderFault.

        The ids must be the same, in the same order, for all pages of a run.
        """
        del cursor
        size = self._settings.state_chunk_size
        chunk = 0 if page is None else int(page.removesuffix(_WITHOUT_CONTENT))
        vids = external_ids[chunk * size : (chunk + 1) * size]
        if not vids:
            return Page((), frozenset())
        answer = await self._ask(vids)
        names_all = not (answer.is_complete or (page or "").endswith(_WITHOUT_CONTENT))
        if len(external_ids) > (chunk + 1) * size:
            token = f"{chunk + 1}{'' if names_all else _WITHOUT_CONTENT}"
            return answer._replace(next_page=token, is_complete=False)
        return answer._replace(is_roster=names_all, is_complete=not names_all)

    async def _ask(self, vids: Sequence[str]) -> Page:
        fetched = await self._http.fetch(self._call(vids))
        if fetched.status in NO_CONTENT:
            return NOTHING_NEW
        return fetched.read(lambda body: interpret_state(body, vids, self._rules), read_error_code)

    def _call(self, vids: Sequence[str]) -> Call:
        return Call(
            method="POST",
            url=self._url,
            headers={
                KEY_HEADER: self._key,
                "Content-Type": "application/json",
                "Accept": "application/json",
            },
            content=orjson.dumps(dict.fromkeys(vids, self._settings.labels)),
            deadline_seconds=self._settings.request_deadline_seconds,
            share=self._share,
            turn=self._turn,
            read_error_code=read_error_code,
        )


def _chunks(ids: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(ids)
    while chunk := list(islice(rest, size)):
        yield chunk
