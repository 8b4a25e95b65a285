"""All connections of one listener, and which of them go first when there is no room for a new one.

A connection that waits for a request head costs its client nothing to hold, so those go first, the longest waiting of
all first, and before all others those that have never shown a good key. A connection whose request has a good key
stays. Owns the order and the counts; closing is the connection's.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from api.addresses import counted_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from api.traffic import HttpTraffic

# How long a connection stays when its own address asks for more than its share. A head arrives sooner, so whoever
# connects in a loop is refused, which costs less than closing another connection each time.
YOUNG_SECONDS = 5.0


class Closable(Protocol):
    def close_now(self) -> None:
        """Close the socket and end its tasks. Does not block."""
        ...


@dataclass(eq=False, slots=True)
class Member:
    """One connection's standing. `since`: waiting for a head, or busy with a request, since when."""

    address: str
    since: float
    connection: Closable | None = None
    busy: bool = False
    has_key: bool = False

    @property
    def rank(self) -> int | None:
        """The lower goes first; None stays."""
        if self.busy:
            return None if self.has_key else 2
        return 1 if self.has_key else 0


class Crowd:
    """The members. `exempt` says of which addresses connections are not counted: those of trusted proxies."""

    def __init__(
        self,
        *,
        max_connections: int,
        max_per_address: int,
        traffic: HttpTraffic,
        exempt: Callable[[str], bool],
    ) -> None:
        self._max_connections = max_connections
        self._max_per_address = max_per_address
        self._traffic = traffic
        self._exempt = exempt
        # By rank; within one, the longest in it first. Those that stay are counted only.
        self._ranks: tuple[OrderedDict[Member, None], ...] = (OrderedDict(), OrderedDict(), OrderedDict())
        self._members: set[Member] = set()
        self._of_address: Counter[str] = Counter()

    def admit(self, peer: str, now: float) -> Member | None:
        """A place for a new connection, another one's if need be; None when this one has to be closed."""
        address = "" if self._exempt(peer) else counted_as(peer)
        if address and self._of_address[address] >= self._max_per_address and not self._make_room_at(address, now):
            self._traffic.connections_refused_of_address += 1
            return None
        if len(self._members) >= self._max_connections and not self.make_room():
            self._traffic.connections_refused += 1
            return None
        member = Member(address, now)
        self._members.add(member)
        self._of_address[address] += 1
        self._place(member)
        self._traffic.connections_open = len(self._members)
        return member

    def make_room(self) -> bool:
        """Close the one that goes first; False when all have to stay."""
        return self._evict(next(self._first_to_go(), None))

    def begin_request(self, member: Member, now: float) -> None:
        self._move(member, now, busy=True)

    def end_request(self, member: Member, now: float) -> None:
        self._move(member, now, busy=False)

    def show_key(self, member: Member) -> None:
        """A request on this connection came with a good key."""
        if not member.has_key:
            self._unplace(member)
            member.has_key = True
            self._place(member)

    def leave(self, member: Member) -> None:
        """The connection has ended; nothing when it was closed from here."""
        if member not in self._members:
            return
        self._unplace(member)
        self._members.remove(member)
        self._of_address[member.address] -= 1
        if not self._of_address[member.address]:
            del self._of_address[member.address]
        self._traffic.connections_open = len(self._members)

    def _make_room_at(self, address: str, now: float) -> bool:
        own = (member for member in self._first_to_go() if member.address == address)
        first = next(own, None)
        return first is not None and now - first.since >= YOUNG_SECONDS and self._evict(first)

    def _first_to_go(self) -> Iterator[Member]:
        for rank in self._ranks:
            yield from rank

    def _evict(self, member: Member | None) -> bool:
        if member is None:
            return False
        self.leave(member)
        self._traffic.connections_evicted += 1
        if member.connection is not None:
            member.connection.close_now()
        return True

    def _move(self, member: Member, now: float, *, busy: bool) -> None:
        if member in self._members:
            self._unplace(member)
            member.busy, member.since = busy, now
            self._place(member)

    def _place(self, member: Member) -> None:
        if member.rank is not None and member in self._members:
            self._ranks[member.rank][member] = None

    def _unplace(self, member: Member) -> None:
        if member.rank is not None:
            self._ranks[member.rank].pop(member, None)
