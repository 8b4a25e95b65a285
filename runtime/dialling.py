"""The one dialler for every connection that configuration can ask for.

This module owns resolving a name, judging each of its addresses, and connecting to a judged
address. The socket gets the address, never the name again. A name that resolves differently at a
second look-up (DNS rebinding) therefore gains nothing. It must never fall back to another way of
connecting.

Looking up a name blocks a thread for as long as the system's resolver takes. These threads have
their own limiter. A look-up that was given up still occupies a place in it, so names that are never
answered cost at most MAX_LOOKUPS threads, and no thread of other work. Names that resolved last
time have a separate limiter, so that a customer's unanswered names do not keep them waiting.
"""

from __future__ import annotations

import ipaddress
import socket
from collections import Counter, OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import trio

from runtime.outbound import Address, Allowance, OutboundRefused, UnknownName, literal_address

if TYPE_CHECKING:
    from collections.abc import Sequence

RESOLVE_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 10.0
MAX_LOOKUPS: Final = 32
MAX_KNOWN_LOOKUPS: Final = 16  # for names that resolved last time
MAX_KNOWN_NAMES: Final = 4096
MAX_ADDRESSES: Final = 8  # tried of one name
NEXT_ATTEMPT_SECONDS: Final = 0.25  # RFC 8305: the head start of one address before the next


class Resolve(Protocol):
    """Return the addresses of a name, best first. Raises OSError."""

    async def __call__(self, host: str, port: int) -> Sequence[Address]: ...


class Connect(Protocol):
    """Connect to exactly this address. Raises OSError."""

    async def __call__(self, host: str, port: int) -> trio.SocketStream: ...


@dataclass(frozen=True, slots=True)
class DiallerStatistics:
    """Connections that were asked for, in all, and the look-ups of names now."""

    asked: int
    refused: int  # the allowance permitted no address
    connected: int
    lookups_in_flight: int
    lookups_waiting: int  # for a look-up of another name to end


class Dialler:
    """Opens the TCP connections that the allowance permits. Make one for each process.

    `resolve` and `connect` are replaced in tests only. `connect` is only ever given a literal
    address.
    """

    def __init__(
        self,
        allowance: Allowance,
        *,
        resolve: Resolve | None = None,
        connect: Connect = trio.open_tcp_stream,
    ) -> None:
        self.allowance = allowance
        self._limiter = trio.CapacityLimiter(MAX_LOOKUPS)
        self._known_limiter = trio.CapacityLimiter(MAX_KNOWN_LOOKUPS)
        self._known: OrderedDict[str, None] = OrderedDict()
        self._resolve = resolve or self._look_up
        self._connect = connect
        self._counts: Counter[str] = Counter()

    async def dial(self, host: str, port: int) -> trio.SocketStream:
        """Connect to the first permitted address that answers, within 15 s at most.

        Raises OutboundRefused if no address is permitted or no name server knows the name, and
        OSError if none can be reached.
        """
        self._counts["asked"] += 1
        permitted = self._permitted(host, await self._addresses_of(host, port))
        with trio.move_on_after(CONNECT_SECONDS):
            stream = await self._race(permitted[:MAX_ADDRESSES], port)
            self._counts["connected"] += 1
            return stream
        raise TimeoutError(f"no connection within {CONNECT_SECONDS:g} s")

    def statistics(self) -> DiallerStatistics:
        limiters = self._limiter, self._known_limiter
        return DiallerStatistics(
            asked=self._counts["asked"],
            refused=self._counts["refused"],
            connected=self._counts["connected"],
            lookups_in_flight=sum(limiter.borrowed_tokens for limiter in limiters),
            lookups_waiting=sum(limiter.statistics().tasks_waiting for limiter in limiters),
        )

    async def _addresses_of(self, host: str, port: int) -> Sequence[Address]:
        literal = literal_address(host)
        if literal is not None:
            return [literal]
        with trio.move_on_after(RESOLVE_SECONDS):
            return await self._resolve(host, port)
        raise TimeoutError(f"the name was not resolved within {RESOLVE_SECONDS:g} s")

    def _permitted(self, host: str, addresses: Sequence[Address]) -> list[Address]:
        """Return the addresses that may be dialled, in the order in which to try them.

        If there are none, raises the first refusal, or OSError for a name without an address.
        """
        permitted, refusals = [], []
        for address in addresses:
            try:
                self.allowance.judge(host, address)
            except OutboundRefused as refusal:
                refusals.append(refusal)
            else:
                permitted.append(address)
        if permitted:
            return _alternating(permitted)
        self._counts["refused"] += 1
        raise refusals[0] if refusals else OSError("the name has no address")

    async def _look_up(self, host: str, port: int) -> Sequence[Address]:
        """Resolve a name with the system's resolver.

        The name is passed as bytes: for text, the codec refuses long labels with an error that is
        not an OSError.
        """
        ask = partial(
            socket.getaddrinfo, host.encode("ascii", "replace"), port, type=socket.SOCK_STREAM
        )
        limiter = self._known_limiter if host in self._known else self._limiter
        try:
            found = await trio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=limiter)
        except socket.gaierror as error:
            self._known.pop(host, None)
            if error.errno == socket.EAI_NONAME:
                raise UnknownName(f"no name server knows {host}") from error
            raise
        except BaseException:
            self._known.pop(host, None)
            raise
        self._remember(host)
        return [ipaddress.ip_address(str(sockaddr[0])) for *_, sockaddr in found]

    def _remember(self, host: str) -> None:
        self._known[host] = None
        self._known.move_to_end(host)
        if len(self._known) > MAX_KNOWN_NAMES:
            self._known.popitem(last=False)

    async def _race(self, addresses: Sequence[Address], port: int) -> trio.SocketStream:
        """Return the first connection that succeeds, and close the others.

        Raises the first OSError if none succeeds.
        """
        streams: list[trio.SocketStream] = []
        errors: list[OSError] = []
        try:
            async with trio.open_nursery() as nursery:

                async def attempt(address: Address, failed: trio.Event) -> None:
                    try:
                        streams.append(await self._connect(str(address), port))
                    except OSError as error:
                        errors.append(error)
                        failed.set()
                    else:
                        nursery.cancel_scope.cancel()

                for address in addresses:
                    failed = trio.Event()
                    nursery.start_soon(attempt, address, failed)
                    with trio.move_on_after(NEXT_ATTEMPT_SECONDS):
                        await failed.wait()
        except BaseException:
            for stream in streams:
                stream.socket.close()
            raise
        for late in streams[1:]:
            late.socket.close()
        if not streams:
            raise errors[0]
        return streams[0]


def _alternating(addresses: Sequence[Address]) -> list[Address]:
    """Return the addresses with one of the other family in second place, if there is one.

    With half of the network broken, this costs a single attempt (RFC 6555 §5.4).
    """
    first, *rest = addresses
    other = next((address for address in rest if address.version != first.version), None)
    return [
        first,
        *([other] if other else []),
        *(address for address in rest if address is not other),
    ]
