"""HTTP to providers: one client per process and TLS profile, shared by every connection.

Owns the pool, its limits and the deadline of each call. It must never retry what a provider refused
(the caller backs off), follow a redirect, keep a cookie (one customer's session would travel with
another's request), read proxies or passwords from the environment, or let a secret into a message.

The pool has limits of its own, but needs a limiter outside: httpcore's pool loses a slot for good
when a request is cancelled while it waits for one (encode/httpcore #1093). Behind the limiter no
request ever waits for a slot. If such a wait runs out all the same, slots were lost, and the client
is replaced.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Final, Self
from weakref import WeakValueDictionary

import httpx
import trio

from domain.model import FaultClass
from ports.providers import AnswerTooLarge, ProviderFault
from providers.answers import Answer, describe_answer, media_type_of, no_error_code
from providers.bodies import (
    BodyTooLargeError,
    DamagedBodyError,
    ignored_coding,
    to_utf8,
    unpack,
    unpack_what_can_be,
)
from providers.faults import describe_target, fault_for_error, fault_for_refusal, fault_for_status
from providers.samples import malformed_answer
from providers.tracing import describe_call, trace_headers
from providers.transport import DialledTransport
from runtime.clock import Clock, SystemClock
from runtime.measures import UNMEASURED
from runtime.outbound import OutboundRefused
from runtime.spans import present, span

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Mapping
    from types import TracebackType

    from runtime.dialling import Dialler
    from runtime.measures import Measures

NO_CONTENT: Final = frozenset({204, 205})  # by RFC 9110, an answer without a body
MIB: Final = 1024 * 1024
CONNECT_SECONDS: Final = 10.0
KEEP_ALIVE_SECONDS: Final = 30.0
CLOSE_SECONDS: Final = 5.0
MAX_ERROR_BODY_BYTES: Final = 16_384  # enough for the error code in it
SHARES: Final = 4  # one workspace's calls hold at most this part of all: a quarter
CLIENTS_PER_CALL: Final = 2  # the second only if the first has lost its slots

MAX_ANSWER_BYTES: Final = 16 * MIB
MAX_ANSWER_SETTING: Final = "LASTHEARD_MAX_ANSWER_BYTES"


@dataclass(slots=True, eq=False)
class CallTurn:
    """Where the calls of one poller stand. `is_queued`: the newest one has not had its turn.

    A call that is cancelled in the queue stays queued: it was never sent.
    """

    is_queued: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `turn` tells its poller whether it waits.

    `limiter` (`HttpPool.credential_limiter`) lets one call through at a time. `share`
    (`HttpPool.share`) bounds the calls of one workspace. `read_error_code` finds the code in the
    body of a refusal. The deadline runs from the moment when the call's turn has come.
    """

    method: str
    url: httpx.URL
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | None = None
    deadline_seconds: float = 30.0
    limiter: trio.CapacityLimiter | None = None
    share: trio.CapacityLimiter | None = None
    turn: CallTurn = field(default_factory=CallTurn, repr=False)
    read_error_code: Callable[[bytes], str | None] = no_error_code


@dataclass(slots=True, eq=False)
class _SharedClient:
    """A client and the number of calls that use it.

    A client that was replaced is closed when its last call has ended.
    """

    client: httpx.AsyncClient
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class HttpPoolStatistics:
    """The calls to all providers over HTTP; totals, except for the present values named so."""

    max_connections: int
    in_flight: int  # now
    waiting: int  # now; calls whose turn has not come
    credential_limiters: int  # now; credentials in use
    calls: int
    bytes_received: int  # of bodies, as they were sent
    rebuilds: int  # how often a client that had lost its slots was replaced
    clients_retired: int  # now; replaced, and still in use by a call
    faults: Mapping[str, int]  # calls that failed, by domain.model.FaultClass


class HttpPool:
    """The process's HTTP client. Open it once, around the use of all providers.

    Enter it (`async with`) before the providers are used and close it after them. The streaming
    providers connect with the same `dialler` and `ssl_context`: building a context takes about 20
    ms and most of a megabyte, too much to do for each connection.
    """

    def __init__(
        self,
        dialler: Dialler,
        *,
        max_connections: int = 64,
        max_response_bytes: int = MAX_ANSWER_BYTES,
        pool_wait_seconds: float = 5.0,
        ca_file: str | None = None,
        clock: Clock | None = None,
        measures: Measures = UNMEASURED,
    ) -> None:
        if max_connections < 1:
            raise ValueError(f"max_connections must be at least 1, not {max_connections}")
        self.clock: Clock = clock or SystemClock()
        self.dialler = dialler
        self.ssl_context: ssl.SSLContext = httpx.create_ssl_context()
        if ca_file is not None:
            self.ssl_context.load_verify_locations(cafile=ca_file)
        self._measures = measures
        self._max_connections = max_connections
        self._max_response_bytes = max_response_bytes
        self._pool_wait_seconds = pool_wait_seconds
        self._limiter = trio.CapacityLimiter(max_connections)
        self._credential_limiters: WeakValueDictionary[bytes, trio.CapacityLimiter] = (
            WeakValueDictionary()
        )
        self._shares: WeakValueDictionary[str, trio.CapacityLimiter] = WeakValueDictionary()
        self._current: _SharedClient | None = None
        self._retired: set[_SharedClient] = set()
        self._counts: Counter[str] = Counter()
        self._faults: Counter[FaultClass] = Counter()

    async def __aenter__(self) -> Self:
        self._current = _SharedClient(self._make_client())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        clients, self._current = [*self._retired, self._current_client()], None
        for shared in clients:
            await self._close(shared)

    def credential_limiter(self, credential: str) -> trio.CapacityLimiter:
        """Return the limiter of this credential: one call at a time for everyone who uses it.

        Keep it as long as you call.
        """
        key = hashlib.sha256(credential.encode()).digest()
        limiter = self._credential_limiters.get(key)
        if limiter is None:
            limiter = self._credential_limiters[key] = trio.CapacityLimiter(1)
        return limiter

    def share(self, workspace_id: str) -> trio.CapacityLimiter:
        """Return the limiter of this workspace's calls. Keep it as long as you call.

        Without it, one workspace whose many providers answer slowly would stop everybody's polling.
        """
        share = self._shares.get(workspace_id)
        if share is None:
            share = self._shares[workspace_id] = trio.CapacityLimiter(
                max(1, self._max_connections // SHARES)
            )
        return share

    async def fetch(self, call: Call) -> Answer:
        """Return a 2xx answer, its body unpacked and in UTF-8, at most max_response_bytes.

        Raises ProviderFault. The wait for the call's turn has no deadline here, only the caller's.
        Each call before it ends by its own deadline, so the queue moves, and a full pool of ours
        must not be reported as the provider's outage.
        """
        self._counts["calls"] += 1
        place = describe_target(call.url)
        call.turn.is_queued = True
        try:
            async with call.limiter or nullcontext(), call.share or nullcontext(), self._limiter:
                call.turn.is_queued = False
                with span(call.method, "client"):
                    return await self._send_measured(call, place)
        except ProviderFault as fault:
            self._faults[fault.fault] += 1
            self._measures.calls(1, call.url.host, fault.fault)
            raise

    def statistics(self) -> HttpPoolStatistics:
        limiter = self._limiter.statistics()
        return HttpPoolStatistics(
            max_connections=self._max_connections,
            in_flight=limiter.borrowed_tokens,
            waiting=limiter.tasks_waiting,
            credential_limiters=len(self._credential_limiters),
            calls=self._counts["calls"],
            bytes_received=self._counts["bytes_received"],
            rebuilds=self._counts["rebuilds"],
            clients_retired=len(self._retired),
            faults={str(fault): count for fault, count in sorted(self._faults.items())},
        )

    # One call

    async def _send_measured(self, call: Call, place: str) -> Answer:
        """Send the call within its deadline, and measure the time without the wait for its turn."""
        began = trio.current_time()
        try:
            with trio.move_on_after(call.deadline_seconds):
                answer = await self._send(call, place)
                self._measures.calls(1, call.url.host, "ok")
                return answer
        finally:
            self._measures.call_seconds(trio.current_time() - began, call.url.host)
        raise ProviderFault(
            FaultClass.OUTAGE, f"{place} did not answer within {call.deadline_seconds:g} s"
        )

    async def _send(self, call: Call, place: str) -> Answer:
        for _ in range(CLIENTS_PER_CALL):
            async with self._client_in_use() as shared:
                try:
                    return await self._exchange(shared.client, call, place)
                except httpx.PoolTimeout:
                    self._replace(shared)
        raise ProviderFault(
            FaultClass.OUTAGE,
            f"{place} could not be called: no connection came free in two attempts",
        )

    async def _exchange(self, client: httpx.AsyncClient, call: Call, place: str) -> Answer:
        request = client.build_request(
            call.method,
            call.url,
            headers={**call.headers, **trace_headers()},
            content=call.content,
        )
        describe_call(call.method, call.url)
        try:
            response = await client.send(request, stream=True)
        except httpx.PoolTimeout:
            raise
        except OutboundRefused as refusal:
            raise fault_for_refusal(refusal, place) from refusal
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # `from None` drops the cause: the texts of these errors quote headers, ours and the
            # server's.
            raise fault_for_error(error, place) from None
        present().set("http.response.status_code", response.status_code)
        try:
            body, is_cut = await self._read(response, place)
        finally:
            # Shielded: a response closed half-way by a cancelled task would keep its slot. Bounded
            # as well, although closing does not wait for the peer.
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
                await response.aclose()
        media_type = media_type_of(response.headers)
        encoding = response.headers.get("content-encoding", "")
        if not response.is_success:
            readable = unpack_what_can_be(body, encoding, MAX_ERROR_BODY_BYTES)
            code = None if is_cut else call.read_error_code(readable)
            facts = describe_answer(media_type, len(body), code, is_cut=is_cut)
            raise fault_for_status(
                response.status_code, response.headers, place, facts, self.clock.wall()
            )
        plain = self._unpack(response, body, place)
        return Answer(response.status_code, media_type, plain, ignored_coding(encoding))

    async def _read(self, response: httpx.Response, place: str) -> tuple[bytes, bool]:
        """Return the raw body, and whether it was cut.

        Only an error's body is cut. A 2xx body that is too long raises ProviderFault.
        """
        limit = self._max_response_bytes if response.is_success else MAX_ERROR_BODY_BYTES
        body = bytearray()
        is_too_long = False
        try:
            with trio.CancelScope() as scope:
                async for chunk in response.aiter_raw():
                    is_too_long = len(body) + len(chunk) > limit
                    body += chunk[: limit - len(body)]
                    if is_too_long:
                        # Cancel the read instead of leaving the loop: that would leave async
                        # generators behind, which only their own task may close. A cancelled read
                        # unwinds them all.
                        scope.cancel()
        except httpx.HTTPError as error:
            raise fault_for_error(error, place) from None
        self._counts["bytes_received"] += len(body)
        if is_too_long and response.is_success:
            raise self._too_long(place)
        return bytes(body), is_too_long

    def _unpack(self, response: httpx.Response, body: bytes, place: str) -> bytes:
        """Return the body as UTF-8, without its content codings. Raises ProviderFault.

        At most max_response_bytes are unpacked, however small the packed body was.
        """
        try:
            plain = unpack(
                body, response.headers.get("content-encoding", ""), self._max_response_bytes
            )
        except BodyTooLargeError:
            raise self._too_long(place) from None
        except DamagedBodyError as error:
            raise malformed_answer(f"{place} answered with {error}") from error
        return to_utf8(plain, response.headers.get("content-type", ""))

    def _too_long(self, place: str) -> AnswerTooLarge:
        return AnswerTooLarge(
            f"{place} answered with more than {self._max_response_bytes} bytes: raise "
            f"{MAX_ANSWER_SETTING}, or poll more often or for less content",
            self._max_response_bytes,
        )

    # Clients

    def _make_client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(
            max_connections=self._max_connections,
            max_keepalive_connections=self._max_connections,
            keepalive_expiry=KEEP_ALIVE_SECONDS,
        )
        return httpx.AsyncClient(
            transport=DialledTransport(self.dialler, self.ssl_context, limits),
            # Reading and writing are bounded by the call's own deadline.
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS, pool=self._pool_wait_seconds),
            follow_redirects=False,
            trust_env=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            headers={"User-Agent": "lastheard", "Accept-Encoding": "gzip"},
        )

    def _current_client(self) -> _SharedClient:
        if self._current is None:
            raise RuntimeError("the HTTP pool is not open: enter it with `async with` first")
        return self._current

    @asynccontextmanager
    async def _client_in_use(self) -> AsyncIterator[_SharedClient]:
        shared = self._current_client()
        shared.in_flight += 1
        try:
            yield shared
        finally:
            shared.in_flight -= 1
            if shared in self._retired and not shared.in_flight:
                await self._close(shared)

    def _replace(self, lost: _SharedClient) -> None:
        """Make a new client in place of one that lost its slots.

        Of many calls that notice the loss, the first replaces the client.
        """
        if lost is self._current:
            self._counts["rebuilds"] += 1
            self._retired.add(lost)
            self._current = _SharedClient(self._make_client())

    async def _close(self, shared: _SharedClient) -> None:
        """Close a client, bounded and shielded: its sockets must not outlive it."""
        self._retired.discard(shared)
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
            await shared.client.aclose()
