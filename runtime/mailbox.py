"""The bounded way into an actor: lanes side by side, each with its own bound.

This module owns `Mailbox`: which items are admitted, which senders wait, and the order in which
items come out. It must never drop or reorder items inside a lane, know what an item means, or sleep
on a timer. Deadlines are the callers' cancel scopes.

**Bounds.** A lane is bounded in units of size (updates, not submissions). Every item counts for at
least one unit, so that empty ones are bounded too. An item larger than the whole lane is admitted
only when its lane is empty. The bound is exceeded by at most that one item, and no configuration
can make an item undeliverable.

**Items set aside.** A receiver that cannot work on an item yet keeps it and reports it
(`set_aside`). The item then counts against its lane until `resume`. Its room may have been given to
senders between receiving and setting aside, so the bound can be exceeded by the size of one batch.

**Fairness inside a lane.** Parked senders are admitted first come, first served, and room is handed
to them directly. A `send_nowait` must not overtake them, or it would starve them. If it never
could, it would be refused for as long as any sender is parked, since each freed unit is handed on
at once (measured with one trio channel shared by both kinds). So the two take turns: after a
`send_nowait` was refused, every second drain of the lane holds back as much room as it asked for.
Two exceptions keep both kinds moving. An emptied lane always admits its first parked sender, and a
hold that is not used ends at the next drain. As a result, parked senders always advance, and
`send_nowait` as a class advances as long as no item is larger than half of its lane. A single
`send_nowait` has no promise; its caller refuses the work or tries again.

**Fairness between lanes.** Weighted round robin in units of size. Each lane keeps the point up to
which it has been served, in size divided by weight. The lane that is furthest behind is next
(start-time fair queueing, Goyal, Vin and Cheng 1996). The points are kept from one batch to the
next. A lane that was idle resumes at the current point, so it earns no credit while it is idle.

**Items passed over.** A receiver may admit some items and pass over others. Those wait on in front
of their lane, in order, and are asked about first in the next batch. A lane hands out nothing from
behind them once `MAX_PASSED_SIZE` was passed over, so asking costs little however long the lane is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import trio

from runtime.mailbox_lane import LaneLimits, LaneStatistics, MailboxLane, Parked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


class LaneFull(Exception):
    """The lane has no room now; the item was not taken."""


class MailboxClosed(Exception):
    """The mailbox is closed.

    On sending: it takes no more items. On receiving: all items in it have been handed out.
    """


@dataclass(frozen=True, slots=True)
class MailboxStatistics:
    """All lanes of a mailbox."""

    closed: bool
    oldest_waiting_seconds: float  # 0 if nothing waits
    lanes: Mapping[str, LaneStatistics]  # by name


class _Receiver(NamedTuple):
    """A receiver that waits for items of at least `min_size` together."""

    min_size: int
    woken: trio.Event


class Mailbox(Generic[T]):
    """Bounded lanes, drained in batches by weighted round robin.

    The module's docstring has the rules.

    Cancelling a `send` or a `receive_batch` never loses or duplicates an item: a cancelled `send`
    has not put its item in, and a cancelled `receive_batch` has taken nothing. Any number of
    senders and receivers may use it in one trio loop.
    """

    def __init__(self, lanes: Mapping[str, LaneLimits]) -> None:
        if not lanes:
            raise ValueError("a mailbox needs at least one lane")
        self._lanes: dict[str, MailboxLane[T]] = {
            name: MailboxLane(limits) for name, limits in lanes.items()
        }
        self._in_order = tuple(self._lanes.values())
        self._receivers: list[_Receiver] = []
        self._served = 0.0  # current point of the round: where the lane served last began its turn
        self._waiting_items = 0
        self.queued_size = 0  # of everything that waits, without what was set aside
        self._closed = False

    def send_nowait(self, lane: str, item: T, size: int) -> None:
        """Put an item into a lane at once. Never blocks.

        Raises LaneFull, MailboxClosed, or KeyError for an unknown lane.
        """
        box = self._lanes[lane]
        if self._closed:
            raise MailboxClosed("the mailbox is closed")
        if size < 1:
            size = 1
        # The common case is written out, because this runs for every submission.
        if (box.parked or box.size + size > box.capacity) and not box.admits_guest(size):
            raise LaneFull(f"no room for {size} in lane {lane}: {box.size} of {box.capacity} taken")
        self._put(box, item, size, trio.current_time())

    async def send(self, lane: str, item: T, size: int) -> None:
        """Put an item into a lane, waiting in line for room.

        Always a checkpoint; its deadline is the caller's. Raises MailboxClosed, also if the mailbox
        closes during the wait. After any exception the item is not in the mailbox.
        """
        box = self._lanes[lane]
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise MailboxClosed("the mailbox is closed")
        size = max(size, 1)
        if box.parked or not box.has_room_for(size):
            await self._park(box, Parked(item, size, trio.current_time()))
        else:
            self._put(box, item, size, trio.current_time())
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def receive_batch(self, max_size: int) -> list[T]:
        """Wait for items, then take whole items of up to `max_size` units, but at least one item.

        Has no deadline of its own: an actor may wait for work for ever. Raises MailboxClosed when
        the mailbox is closed and empty.
        """
        batch: list[T] = []
        while not batch:
            await self.wait_for()
            # No checkpoint from here on, so that every item taken reaches the caller.
            batch = self.take_nowait(max_size)
        return batch

    async def wait_for(self, min_size: int = 1) -> None:
        """Wait until items of `min_size` units wait together, or the mailbox is closed.

        Always a checkpoint; its deadline is the caller's. Raises MailboxClosed when the mailbox is
        closed and empty.
        """
        await trio.lowlevel.checkpoint()
        while not self._waiting_items or (self.queued_size < min_size and not self._closed):
            if self._closed:
                raise MailboxClosed("the mailbox is closed and empty")
            await self._wait_for_items(min_size)

    def take_nowait(self, max_size: int, admits: Callable[[T], bool] | None = None) -> list[T]:
        """Take whole items of up to `max_size` units, but at least one; none if there is none.

        `admits` is asked about each item once, in the order of its lane, and must not raise. Items
        that it does not admit are passed over. Never blocks.
        """
        return self._take(max_size, admits or _admit)

    async def _wait_for_items(self, min_size: int) -> None:
        receiver = _Receiver(min_size, trio.Event())
        self._receivers.append(receiver)
        try:
            await receiver.woken.wait()
        finally:
            self._receivers.remove(receiver)

    def set_aside(self, lane: str, size: int) -> None:
        """Count a received item against its lane again, because the receiver keeps it for later."""
        box = self._lanes[lane]
        box.size += max(size, 1)
        box.set_aside += max(size, 1)

    def resume(self, lane: str, size: int) -> None:
        """Free the room of an item that was set aside, and admit waiting senders to it.

        Call it when the item is worked on or discarded.
        """
        box = self._lanes[lane]
        box.size -= max(size, 1)
        box.set_aside -= max(size, 1)
        self._admit_parked(box, box.guest_room)

    def take_all(self) -> list[T]:
        """Take all items at once, because no more will be received. Never blocks."""
        return self._take(self.waiting_size, _admit) if self._waiting_items else []

    def close(self) -> None:
        """Take no more items.

        Parked senders get MailboxClosed. Receivers get the remaining items first, and then
        MailboxClosed.
        """
        self._closed = True
        for box in self._in_order:
            while box.parked:
                task, parked = box.parked.popitem(last=False)
                parked.refused = True
                trio.lowlevel.reschedule(task)
        for receiver in self._receivers:
            receiver.woken.set()

    def oldest_waiting_seconds(self) -> float:
        """Return the seconds since the oldest waiting item was sent, parked ones included.

        Returns 0.0 if no item waits.
        """
        since = [start for box in self._in_order if (start := box.oldest_since()) is not None]
        return trio.current_time() - min(since) if since else 0.0

    @property
    def has_room(self) -> bool:
        """Return whether every lane has room for something."""
        return all(box.size < box.capacity for box in self._in_order)

    @property
    def waiting_size(self) -> int:
        """The size of everything that waits in a lane or was set aside."""
        return sum(box.size for box in self._in_order)

    def statistics(self) -> MailboxStatistics:
        return MailboxStatistics(
            closed=self._closed,
            oldest_waiting_seconds=self.oldest_waiting_seconds(),
            lanes={name: box.statistics() for name, box in self._lanes.items()},
        )

    async def _park(self, box: MailboxLane[T], parked: Parked[T]) -> None:
        task = trio.lowlevel.current_task()
        box.parked[task] = parked

        def give_up(_: object) -> trio.lowlevel.Abort:
            del box.parked[task]
            # The senders behind the cancelled one may be smaller and fit where it did not.
            self._admit_parked(box, box.guest_room)
            return trio.lowlevel.Abort.SUCCEEDED

        # Either another task removes the sender from the line and reschedules this task, which can
        # then no longer be cancelled here; or the cancellation removes it. There is no state in
        # between.
        await trio.lowlevel.wait_task_rescheduled(give_up)
        if parked.refused:
            raise MailboxClosed("the mailbox was closed")

    def _put(self, box: MailboxLane[T], item: T, size: int, since: float) -> None:
        if not box.queue and not box.passed and box.served < self._served:
            box.served = self._served
        box.queue.append((item, size, since))
        box.size += size
        box.accepted_items += 1
        box.accepted_size += size
        if box.size > box.peak_size:
            box.peak_size = box.size
        self._waiting_items += 1
        self.queued_size += size
        for receiver in self._receivers:
            if self.queued_size >= receiver.min_size:
                receiver.woken.set()

    def _take(self, max_size: int, admits: Callable[[T], bool]) -> list[T]:
        batch: list[T] = []
        touched: list[MailboxLane[T]] = []
        room = max_size
        # The lane that is furthest behind is asked first: what it may not hand out now holds back
        # the others, and not the other way round.
        found = {}
        for box in sorted(self._in_order, key=_served):
            box.begin_batch()
            found[box] = box.next_admitted(admits)
        heads = {box: head for box in self._in_order if (head := found[box])}
        while heads:
            box = min(heads, key=_served) if len(heads) > 1 else next(iter(heads))
            item, size, _ = heads[box]
            if size > room and batch:
                break  # its lane stays furthest behind, so the next batch begins with it
            box.pop_admitted()
            box.size -= size
            room -= size
            batch.append(item)
            self._served = box.served
            box.served += size / box.weight
            if head := box.next_admitted(admits):
                heads[box] = head
            else:
                del heads[box]
            if box.parked and box not in touched:
                touched.append(box)
        for box in self._in_order:
            box.end_batch()
        self._waiting_items -= len(batch)
        self.queued_size -= max_size - room
        for box in touched:
            box.guest_room = 0
            self._admit_parked(box, box.hold_for_guests())
        return batch

    def _admit_parked(self, box: MailboxLane[T], held: int) -> None:
        """Give the lane's room to parked senders in order, except `held` for `send_nowait`."""
        while (task := box.next_parked(held)) is not None:
            parked = box.parked.pop(task)
            self._put(box, parked.item, parked.size, parked.since)
            trio.lowlevel.reschedule(task)
        box.guest_room = held if box.parked else 0


def _served(box: MailboxLane[Any]) -> float:
    return box.served


def _admit(_: object) -> bool:
    return True
