"""One lane of a mailbox: its queue, its parked senders, its counters. It decides and never waits.

Owns the order of a lane's items, and which sender is admitted next. The rules are those of
runtime/mailbox.py.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MAX_PASSED_SIZE: Final = 2_000


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """The limits of one lane.

    `capacity` is in units of size. `weight` is the lane's share of what is drained while other
    lanes have items, too.
    """

    capacity: int
    weight: int

    def __post_init__(self) -> None:
        if self.capacity < 1 or self.weight < 1:
            raise ValueError(f"a lane needs a capacity and a weight of at least 1, not {self}")


@dataclass(frozen=True, slots=True)
class LaneStatistics:
    """One lane as it is now, and its totals. Sizes are in units of size (updates)."""

    waiting_items: int
    waiting_size: int  # of the items that wait and of those set aside
    set_aside_size: int  # received, and kept by the receiver for later
    capacity: int
    weight: int
    peak_size: int  # the largest waiting_size so far
    parked_senders: int  # waiting for room
    accepted_items: int  # total
    accepted_size: int  # total
    refused_items: int  # total; by `send_nowait`, for want of room
    oldest_waiting_seconds: float  # 0 if nothing waits


@dataclass(slots=True)
class Parked(Generic[T]):
    item: T
    size: int
    since: float
    refused: bool = False


class MailboxLane(Generic[T]):
    """One lane's queue, its parked senders and its counters. It decides and never waits."""

    __slots__ = (
        "accepted_items",
        "accepted_size",
        "ahead",
        "capacity",
        "guest_room",
        "guest_wants",
        "held_last_drain",
        "parked",
        "passed",
        "passed_size",
        "peak_size",
        "queue",
        "refused_items",
        "served",
        "set_aside",
        "size",
        "weight",
    )

    def __init__(self, limits: LaneLimits) -> None:
        self.capacity = limits.capacity
        self.weight = limits.weight
        self.queue: deque[tuple[T, int, float]] = deque()  # item, size, waiting since
        self.passed: deque[tuple[T, int, float]] = deque()  # passed over; before those in `queue`
        self.passed_size = 0
        # While a batch is taken: passed over before, and not asked about yet.
        self.ahead: deque[tuple[T, int, float]] = deque()
        self.size = 0  # of the items queued, passed over and set aside
        self.set_aside = 0
        self.served = 0.0
        self.parked: OrderedDict[trio.lowlevel.Task, Parked[T]] = OrderedDict()
        self.guest_wants = 0  # size of the largest send_nowait refused since the last drain
        self.guest_room = 0  # room that a send_nowait may take although senders are parked
        self.held_last_drain = False
        self.peak_size = 0
        self.accepted_items = 0
        self.accepted_size = 0
        self.refused_items = 0

    def has_room_for(self, size: int) -> bool:
        return self.size + size <= self.capacity or not self.size

    def admits_guest(self, size: int) -> bool:
        """Return whether a `send_nowait` of this size is admitted; if not, note its size."""
        if self.has_room_for(size) and (not self.parked or size <= self.guest_room):
            self.guest_room = max(0, self.guest_room - size)
            return True
        self.guest_wants = max(self.guest_wants, size)
        self.refused_items += 1
        return False

    def next_parked(self, held: int) -> trio.lowlevel.Task | None:
        """Return the parked sender whose turn it is, or None.

        None is also returned if it does not fit beside the room held back for `send_nowait`.
        """
        for task, parked in self.parked.items():
            if not self.size or self.size + parked.size + held <= self.capacity:
                return task
            break
        return None

    def hold_for_guests(self) -> int:
        """Return the room to hold back for `send_nowait` in this drain.

        Room is held back in every second drain, and only if a `send_nowait` was refused.
        """
        held = 0 if self.held_last_drain else self.guest_wants
        self.held_last_drain = held > 0
        self.guest_wants = 0
        return held

    # --- while a batch is taken

    def begin_batch(self) -> None:
        self.ahead, self.passed = self.passed, deque()

    def next_admitted(self, admits: Callable[[T], bool]) -> tuple[T, int, float] | None:
        """Return the first item that is admitted, and leave it where it is.

        The items before it are passed over. None if no item is admitted, or too many were passed.
        """
        while self.ahead:
            if admits(self.ahead[0][0]):
                return self.ahead[0]
            self.passed.append(self.ahead.popleft())
        while self.queue and self.passed_size < MAX_PASSED_SIZE:
            if admits(self.queue[0][0]):
                return self.queue[0]
            self.passed_size += self.queue[0][1]
            self.passed.append(self.queue.popleft())
        return None

    def pop_admitted(self) -> None:
        """Remove the item that `next_admitted` has returned."""
        if self.ahead:
            self.passed_size -= self.ahead.popleft()[1]
        else:
            self.queue.popleft()

    def end_batch(self) -> None:
        self.passed += self.ahead
        self.ahead.clear()

    # --- what it knows of itself

    def oldest_since(self) -> float | None:
        """Return when the longest waiting item or parked sender began to wait."""
        first = [waiting[0][2] for waiting in (self.passed, self.queue) if waiting]
        first += [parked.since for parked in list(self.parked.values())[:1]]
        return min(first, default=None)

    def statistics(self) -> LaneStatistics:
        since = self.oldest_since()
        return LaneStatistics(
            waiting_items=len(self.passed) + len(self.queue),
            waiting_size=self.size,
            set_aside_size=self.set_aside,
            capacity=self.capacity,
            weight=self.weight,
            peak_size=self.peak_size,
            parked_senders=len(self.parked),
            accepted_items=self.accepted_items,
            accepted_size=self.accepted_size,
            refused_items=self.refused_items,
            oldest_waiting_seconds=0.0 if since is None else trio.current_time() - since,
        )
