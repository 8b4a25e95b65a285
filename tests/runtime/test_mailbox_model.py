"""The mailbox against a model: random operations, with every item accounted for after each of them.

Each example runs a whole trio loop of its own (`trio.run`), so that no function-scoped fixture is
shared between them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import trio
import trio.testing
from hypothesis import event, given, settings
from hypothesis import strategies as st

from runtime.mailbox import LaneFull, Mailbox, MailboxClosed
from runtime.mailbox_lane import LaneLimits

LANES = {"stream": LaneLimits(7, 3), "http": LaneLimits(4, 2), "poll": LaneLimits(10, 1)}


@dataclass(frozen=True)
class SendNowait:
    lane: str
    size: int


@dataclass(frozen=True)
class Send:
    lane: str
    size: int


@dataclass(frozen=True)
class GiveUp:
    which: int


@dataclass(frozen=True)
class Receive:
    max_size: int
    also_give_up: int | None  # a sender cancelled in the same moment


@dataclass(frozen=True)
class ReceiveThenCancel:
    max_size: int


@dataclass(frozen=True)
class ReceiveSome:
    """A batch without one of the GROUPS of items; those are passed over."""

    max_size: int
    without: int


GROUPS = 3
lanes, sizes = st.sampled_from(sorted(LANES)), st.integers(0, 12)
operations = st.lists(
    st.one_of(
        st.builds(SendNowait, lanes, sizes),
        st.builds(Send, lanes, sizes),
        st.builds(Send, lanes, sizes),
        st.builds(GiveUp, st.integers(0, 20)),
        st.builds(Receive, st.integers(1, 15), st.none() | st.integers(0, 20)),
        st.builds(ReceiveThenCancel, st.integers(1, 15)),
        st.builds(ReceiveSome, st.integers(1, 15), st.integers(0, GROUPS - 1)),
    ),
    max_size=60,
)


@dataclass
class World:
    """The facts that must be true of the mailbox, kept beside it."""

    nursery: trio.Nursery
    mailbox: Mailbox[tuple[str, int]] = field(default_factory=lambda: Mailbox(LANES))
    next_id: int = 0
    sizes: dict[int, int] = field(default_factory=dict)
    accepted: set[int] = field(default_factory=set)
    received: list[tuple[str, int]] = field(default_factory=list)
    sending: dict[int, trio.CancelScope] = field(default_factory=dict)
    order: dict[str, list[int]] = field(
        default_factory=lambda: {lane: [] for lane in LANES}
    )  # awaited sends only

    def new_item(self, size: int) -> int:
        self.next_id += 1
        self.sizes[self.next_id] = max(size, 1)
        return self.next_id

    async def do(self, operation: object) -> None:
        match operation:
            case SendNowait(lane, size):
                self.send_nowait(lane, size)
            case Send(lane, size):
                self.nursery.start_soon(self.send, lane, size)
            case GiveUp(which):
                self.give_up(which)
            case Receive(max_size, also_give_up):
                await self.receive(max_size, also_give_up)
            case ReceiveThenCancel(max_size):
                await self.receive_then_cancel(max_size)
            case ReceiveSome(max_size, without):
                self.receive_some(max_size, without)
        await trio.testing.wait_all_tasks_blocked()
        self.check()

    def send_nowait(self, lane: str, size: int) -> None:
        item = self.new_item(size)
        try:
            self.mailbox.send_nowait(lane, (lane, item), size)
            self.accepted.add(item)
        except LaneFull:
            event("refused")

    async def send(self, lane: str, size: int) -> None:
        item = self.new_item(size)
        self.order[lane].append(item)
        with trio.CancelScope() as self.sending[item]:
            await self.mailbox.send(lane, (lane, item), size)
            self.accepted.add(item)
        del self.sending[item]

    def give_up(self, which: int) -> None:
        if self.sending:
            event("gave up")
            self.sending[sorted(self.sending)[which % len(self.sending)]].cancel()

    async def receive(self, max_size: int, also_give_up: int | None) -> None:
        with trio.move_on_after(1):
            batch = await self.mailbox.receive_batch(max_size)
            if also_give_up is not None:
                self.give_up(also_give_up)
            assert len(batch) == 1 or sum(self.sizes[item] for _, item in batch) <= max_size
            self.received += batch

    def receive_some(self, max_size: int, without: int) -> None:
        asked: list[int] = []

        def admits(item: tuple[str, int]) -> bool:
            asked.append(item[1])
            return item[1] % GROUPS != without

        batch = self.mailbox.take_nowait(max_size, admits)
        assert len(batch) <= 1 or sum(self.sizes[item] for _, item in batch) <= max_size
        assert all(item % GROUPS != without for _, item in batch)
        assert len(asked) == len(set(asked)), "an item was asked about twice"
        self.received += batch

    async def receive_then_cancel(self, max_size: int) -> None:
        with trio.CancelScope() as scope:
            self.nursery.start_soon(trio.lowlevel.checkpoint)
            scope.cancel()
            self.received += await self.mailbox.receive_batch(max_size)

    def check(self) -> None:
        statistics = self.mailbox.statistics().lanes
        received = [item for _, item in self.received]
        waiting = self.accepted - set(received)
        assert len(received) == len(set(received)), "an item came out twice"
        assert set(received) <= self.accepted, "an item came out whose sender was told otherwise"
        assert sum(lane.waiting_items for lane in statistics.values()) == len(waiting), (
            "an item was lost"
        )
        assert sum(lane.parked_senders for lane in statistics.values()) == len(self.sending)
        for name, lane in statistics.items():
            assert lane.waiting_size <= lane.capacity or lane.waiting_items == 1, "over its bound"
            assert not lane.parked_senders or lane.waiting_items, "senders wait at an empty lane"
            awaited = [
                item for where, item in self.received if where == name and item in self.order[name]
            ]
            for group in range(GROUPS):
                own = [item for item in awaited if item % GROUPS == group]
                assert own == sorted(own), "parked senders were not served in their order"

    async def drain(self) -> None:
        """Every item inside or parked comes out in the end, without help."""
        while self.accepted - {item for _, item in self.received} or self.sending:
            self.received += await self.mailbox.receive_batch(5)
            await trio.testing.wait_all_tasks_blocked()
            self.check()
        self.mailbox.close()
        try:
            await self.mailbox.receive_batch(1)
        except MailboxClosed:
            return
        raise AssertionError("something was left")


@settings(max_examples=150, deadline=None)
@given(steps=operations)
def test_every_item_is_received_once_or_refused_or_still_there(steps: list[object]) -> None:
    async def run() -> None:
        with trio.fail_after(10_000):
            async with trio.open_nursery() as nursery:
                world = World(nursery)
                for step in steps:
                    await world.do(step)
                await world.drain()

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
