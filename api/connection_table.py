"""The open connections of one listener, and the order in which they are closed for a new one.

Closing a connection that waits for a request head costs its client nothing. So waiting connections
are closed first: those without a good key before those with one, and the longest waiting before the
others. A connection that serves a request with a good key is never closed. Owns the order and the
counts; the connection closes itself.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from api.addresses import counting_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from api.traffic import HttpTraffic

# An address at its limit gets a new connection only in place of one whose wait or request is this
# old. A request head arrives sooner. So a client that connects in a loop is refused, which costs
# less than closing a connection each time.
YOUNG_SECONDS = 5.0


class Closable(Protocol):
    def close_now(self) -> None:
        """Close the socket and end its tasks. Does not block."""
        ...


@dataclass(eq=False, slots=True)
class ConnectionEntry:
    """One connection's row in the table. `since`: the start of its present wait or request."""

    address: str
    since: float
    connection: Closable | None = None
    busy: bool = False
    has_key: bool = False
    has_stream: bool = False

    @property
    def rank(self) -> int | None:
        """The place in the order of closing, the lowest first; None if it is never closed."""
        if self.busy:
            return None if self.has_key else 2
        return 1 if self.has_key else 0


class ConnectionTable:
    """The entries of all open connections. `exempt` returns True for addresses without a limit.

    Those are trusted proxies.
    """

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
        # By rank; within a rank, in the order of entering it. An entry that is never closed is in
        # no rank.
        self._ranks: tuple[OrderedDict[ConnectionEntry, None], ...] = (
            OrderedDict(),
            OrderedDict(),
            OrderedDict(),
        )
        self._entries: set[ConnectionEntry] = set()
        self._of_address: Counter[str] = Counter()

    def admit(self, peer: str, now: float) -> ConnectionEntry | None:
        """Return the entry of a new connection, or None to refuse it. May close another one."""
        address = "" if self._exempt(peer) else counting_name(peer)
        if (
            address
            and self._of_address[address] >= self._max_per_address
            and not self._make_room_at(address, now)
        ):
            self._traffic.connections_refused_of_address += 1
            return None
        if len(self._entries) >= self._max_connections and not self.make_room():
            self._traffic.connections_refused += 1
            return None
        entry = ConnectionEntry(address, now)
        self._entries.add(entry)
        self._of_address[address] += 1
        self._place(entry)
        self._traffic.connections_open = len(self._entries)
        return entry

    def make_room(self) -> bool:
        """Close the first connection in order. Return False when none may be closed."""
        return self._evict(next(self._first_to_go(), None))

    def begin_request(self, entry: ConnectionEntry, now: float) -> None:
        self._move(entry, now, busy=True)

    def end_request(self, entry: ConnectionEntry, now: float) -> None:
        if entry.has_stream and entry in self._entries:
            entry.has_stream = False
            self._of_address[entry.address] += 1
        self._move(entry, now, busy=False)

    def show_stream(self, entry: ConnectionEntry) -> None:
        """Note that the request on this connection is the stream of a live page.

        It no longer counts at its address: an office has one address and many open pages, whose
        number the gate bounds.
        """
        if not entry.has_stream and entry in self._entries:
            entry.has_stream = True
            self._leave_address(entry)

    def show_key(self, entry: ConnectionEntry) -> None:
        """Note that a request on this connection came with a good key."""
        if not entry.has_key:
            self._unplace(entry)
            entry.has_key = True
            self._place(entry)

    def leave(self, entry: ConnectionEntry) -> None:
        """Remove a connection that has ended. Does nothing when the table closed it."""
        if entry not in self._entries:
            return
        self._unplace(entry)
        self._entries.remove(entry)
        if not entry.has_stream:
            self._leave_address(entry)
        self._traffic.connections_open = len(self._entries)

    def _leave_address(self, entry: ConnectionEntry) -> None:
        self._of_address[entry.address] -= 1
        if not self._of_address[entry.address]:
            del self._of_address[entry.address]

    def _make_room_at(self, address: str, now: float) -> bool:
        own = (entry for entry in self._first_to_go() if entry.address == address)
        first = next(own, None)
        return first is not None and now - first.since >= YOUNG_SECONDS and self._evict(first)

    def _first_to_go(self) -> Iterator[ConnectionEntry]:
        for rank in self._ranks:
            yield from rank

    def _evict(self, entry: ConnectionEntry | None) -> bool:
        if entry is None:
            return False
        self.leave(entry)
        self._traffic.connections_evicted += 1
        if entry.connection is not None:
            entry.connection.close_now()
        return True

    def _move(self, entry: ConnectionEntry, now: float, *, busy: bool) -> None:
        if entry in self._entries:
            self._unplace(entry)
            entry.busy, entry.since = busy, now
            self._place(entry)

    def _place(self, entry: ConnectionEntry) -> None:
        if entry.rank is not None and entry in self._entries:
            self._ranks[entry.rank][entry] = None

    def _unplace(self, entry: ConnectionEntry) -> None:
        if entry.rank is not None:
            self._ranks[entry.rank].pop(entry, None)
