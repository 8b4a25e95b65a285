"""The mailbox: bounds, order, fairness, and nothing lost when anybody is cancelled."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from runtime.mailbox import LaneFull, LaneLimits, Mailbox, MailboxClosed

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

wait_all_tasks_blocked = trio.testing.wait_all_tasks_blocked


def one_lane(capacity: int = 10) -> Mailbox[str]:
    return Mailbox({"poll": LaneLimits(capacity=capacity, weight=1)})


async def test_items_of_a_lane_come_out_in_the_order_they_went_in() -> None:
    mailbox = one_lane()
    for item in "abc":
        mailbox.send_nowait("poll", item, 1)
    assert await mailbox.receive_batch(100) == ["a", "b", "c"]


async def test_a_batch_takes_whole_items_up_to_its_size_but_at_least_one() -> None:
    mailbox = one_lane()
    for item, size in [("a", 3), ("b", 3), ("c", 4)]:
        mailbox.send_nowait("poll", item, size)
    assert [await mailbox.receive_batch(6), await mailbox.receive_batch(1)] == [["a", "b"], ["c"]]


async def test_a_lane_is_full_in_units_of_size() -> None:
    mailbox = one_lane(capacity=10)
    mailbox.send_nowait("poll", "a", 7)
    with pytest.raises(LaneFull, match="7 of 10"):
        mailbox.send_nowait("poll", "b", 4)
    mailbox.send_nowait("poll", "c", 3)
    assert await mailbox.receive_batch(100) == ["a", "c"]


async def test_an_empty_item_counts_for_one_unit() -> None:
    mailbox = one_lane(capacity=2)
    mailbox.send_nowait("poll", "a", 0)
    mailbox.send_nowait("poll", "b", 0)
    with pytest.raises(LaneFull):
        mailbox.send_nowait("poll", "c", 0)


async def test_an_item_larger_than_its_lane_is_admitted_only_when_the_lane_is_empty() -> None:
    mailbox = one_lane(capacity=10)
    mailbox.send_nowait("poll", "small", 1)
    with pytest.raises(LaneFull):
        mailbox.send_nowait("poll", "huge", 50)
    await mailbox.receive_batch(1)
    mailbox.send_nowait("poll", "huge", 50)
    with pytest.raises(LaneFull):
        mailbox.send_nowait("poll", "small", 1)
    assert await mailbox.receive_batch(1) == ["huge"]


async def test_a_full_lane_leaves_the_others_open() -> None:
    mailbox: Mailbox[str] = Mailbox({"http": LaneLimits(1, 1), "poll": LaneLimits(1, 1)})
    mailbox.send_nowait("http", "a", 1)
    with pytest.raises(LaneFull):
        mailbox.send_nowait("http", "b", 1)
    mailbox.send_nowait("poll", "c", 1)
    assert sorted(await mailbox.receive_batch(10)) == ["a", "c"]


async def test_an_unknown_lane_is_a_bug() -> None:
    with pytest.raises(KeyError):
        one_lane().send_nowait("stream", "a", 1)


async def test_a_receiver_waits_for_the_first_item(nursery: trio.Nursery) -> None:
    mailbox = one_lane()
    batches: list[list[str]] = []

    async def receive() -> None:
        batches.append(await mailbox.receive_batch(10))

    nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    mailbox.send_nowait("poll", "a", 1)
    mailbox.send_nowait("poll", "b", 1)
    await wait_all_tasks_blocked()
    assert batches == [["a", "b"]]


async def test_two_receivers_share_what_comes(nursery: trio.Nursery) -> None:
    mailbox = one_lane()
    taken: list[str] = []

    async def receive() -> None:
        taken.extend(await mailbox.receive_batch(1))

    nursery.start_soon(receive)
    nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    mailbox.send_nowait("poll", "a", 1)
    mailbox.send_nowait("poll", "b", 1)
    await wait_all_tasks_blocked()
    assert sorted(taken) == ["a", "b"]


class Parked:
    """Senders started one after the other, each of which waits in line."""

    def __init__(self, mailbox: Mailbox[str], nursery: trio.Nursery) -> None:
        self.mailbox = mailbox
        self.nursery = nursery
        self.outcomes: dict[str, str] = {}
        self.scopes: dict[str, trio.CancelScope] = {}

    async def add(self, item: str, size: int) -> None:
        self.nursery.start_soon(self._send, item, size)
        await wait_all_tasks_blocked()

    async def _send(self, item: str, size: int) -> None:
        self.scopes[item] = trio.CancelScope()
        self.outcomes[item] = "cancelled"
        with self.scopes[item]:
            try:
                await self.mailbox.send("poll", item, size)
                self.outcomes[item] = "sent"
            except MailboxClosed:
                self.outcomes[item] = "closed"


@pytest.fixture
def park(nursery: trio.Nursery) -> Callable[[Mailbox[str]], Parked]:
    return lambda mailbox: Parked(mailbox, nursery)


async def test_parked_senders_are_admitted_in_their_order(park: Callable[[Mailbox[str]], Parked]) -> None:
    mailbox = one_lane(capacity=4)
    mailbox.send_nowait("poll", "first", 4)
    parked = park(mailbox)
    for item, size in [("big", 3), ("small", 1), ("tiny", 1)]:
        await parked.add(item, size)
    assert mailbox.statistics()["lanes"]["poll"]["parked_senders"] == 3
    batches = [await mailbox.receive_batch(4) for _ in range(3)]
    assert batches == [["first"], ["big", "small"], ["tiny"]]


async def test_a_sender_behind_a_large_one_does_not_overtake_it(park: Callable[[Mailbox[str]], Parked]) -> None:
    mailbox = one_lane(capacity=4)
    for item in "ab":
        mailbox.send_nowait("poll", item, 2)
    parked = park(mailbox)
    await parked.add("large", 4)
    await parked.add("small", 1)
    assert await mailbox.receive_batch(2) == ["a"]
    await wait_all_tasks_blocked()
    assert parked.outcomes == {"large": "cancelled", "small": "cancelled"}  # both still wait


async def test_a_sender_who_gives_up_leaves_no_item_and_lets_the_next_one_in(
    park: Callable[[Mailbox[str]], Parked],
) -> None:
    mailbox = one_lane(capacity=4)
    mailbox.send_nowait("poll", "first", 3)
    parked = park(mailbox)
    await parked.add("large", 4)
    await parked.add("small", 1)
    parked.scopes["large"].cancel()
    await wait_all_tasks_blocked()
    assert parked.outcomes == {"large": "cancelled", "small": "sent"}
    assert await mailbox.receive_batch(100) == ["first", "small"]


async def test_a_sender_cancelled_in_the_moment_of_its_admission_has_sent(
    park: Callable[[Mailbox[str]], Parked],
) -> None:
    mailbox = one_lane(capacity=1)
    mailbox.send_nowait("poll", "first", 1)
    parked = park(mailbox)
    await parked.add("second", 1)
    assert await mailbox.receive_batch(1) == ["first"]  # admits the second; its task has not run yet
    parked.scopes["second"].cancel()
    await wait_all_tasks_blocked()
    assert parked.outcomes == {"second": "sent"}
    assert await mailbox.receive_batch(1) == ["second"]


async def test_a_send_in_a_cancelled_scope_puts_nothing_in() -> None:
    mailbox = one_lane()
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.send("poll", "a", 1)
    assert scope.cancelled_caught
    assert mailbox.statistics()["lanes"]["poll"]["accepted_items"] == 0


async def test_a_send_cancelled_after_it_put_its_item_in_has_sent() -> None:
    mailbox: Mailbox[int] = Mailbox({"poll": LaneLimits(capacity=100, weight=1)})
    sent: list[int] = []
    cancelled_meanwhile = 0

    async def cancel(scope: trio.CancelScope) -> None:
        scope.cancel()

    for attempt in range(50):  # trio decides by chance whether the cancellation comes before or after the checkpoint
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(cancel, scope)
                await mailbox.send("poll", attempt, 1)
                sent.append(attempt)
                cancelled_meanwhile += scope.cancel_called
    assert cancelled_meanwhile > 0
    assert sent == await mailbox.receive_batch(100) == list(range(50))


async def test_a_receiver_in_a_cancelled_scope_takes_nothing_out() -> None:
    mailbox = one_lane()
    mailbox.send_nowait("poll", "a", 1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.receive_batch(1)
    assert scope.cancelled_caught
    assert await mailbox.receive_batch(1) == ["a"]


@pytest.mark.parametrize("cancel_first", [True, False])
async def test_a_receiver_cancelled_while_an_item_arrives_either_has_it_or_leaves_it(
    cancel_first: bool, nursery: trio.Nursery
) -> None:
    mailbox = one_lane()
    got: list[str] = []
    scope = trio.CancelScope()

    async def receive() -> None:
        with scope:
            got.extend(await mailbox.receive_batch(1))

    nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    if cancel_first:
        scope.cancel()
    mailbox.send_nowait("poll", "a", 1)
    scope.cancel()
    await wait_all_tasks_blocked()
    waiting = mailbox.statistics()["lanes"]["poll"]["waiting_items"]
    assert (got, waiting) == (([], 1) if cancel_first else (["a"], 0))


async def test_send_and_receive_are_checkpoints_even_when_nothing_blocks() -> None:
    mailbox = one_lane()
    with trio.testing.assert_checkpoints():
        await mailbox.send("poll", "a", 1)
    with trio.testing.assert_checkpoints():
        await mailbox.receive_batch(1)


async def test_a_send_nowait_does_not_overtake_parked_senders(park: Callable[[Mailbox[str]], Parked]) -> None:
    mailbox = one_lane(capacity=4)
    mailbox.send_nowait("poll", "first", 2)
    parked = park(mailbox)
    await parked.add("waiting", 3)
    with pytest.raises(LaneFull):
        mailbox.send_nowait("poll", "pushy", 1)  # there is room for it, but not for the one in line
    assert parked.outcomes == {"waiting": "cancelled"}


async def contend(mailbox: Mailbox[str], *, rounds: int, drain: int, size: int, pushes: int) -> dict[str, int]:
    """Ten senders that always park, one that never does but tries often, and a receiver: how many items each got in."""
    through = {"parked": 0, "nowait": 0}

    async def keep_sending() -> None:
        while True:
            await mailbox.send("poll", "parked", size)
            through["parked"] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(keep_sending)
        await wait_all_tasks_blocked()
        for _ in range(rounds):
            for _ in range(pushes):
                with suppress(LaneFull):
                    mailbox.send_nowait("poll", "nowait", size)
                    through["nowait"] += 1
            await mailbox.receive_batch(drain)
            await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return through


@pytest.mark.parametrize("pushes", [1, 4])
@pytest.mark.parametrize(("drain", "size"), [(1, 1), (2, 1), (10, 1), (1000, 5), (3, 3), (1, 5)])
async def test_neither_parked_senders_nor_send_nowait_starve(drain: int, size: int, pushes: int) -> None:
    through = await contend(one_lane(capacity=10), rounds=40, drain=drain, size=size, pushes=pushes)
    assert through["nowait"] >= 10
    assert through["parked"] >= 20


async def test_a_hold_is_for_as_much_as_was_asked_and_no_more(park: Callable[[Mailbox[str]], Parked]) -> None:
    mailbox = one_lane(capacity=10)
    for _ in range(10):
        mailbox.send_nowait("poll", "first", 1)
    await park(mailbox).add("big", 9)
    with pytest.raises(LaneFull):
        mailbox.send_nowait("poll", "pushy", 1)
    await mailbox.receive_batch(3)
    mailbox.send_nowait("poll", "pushy", 1)
    with pytest.raises(LaneFull):
        mailbox.send_nowait("poll", "pushy", 1)  # there is room, but it is the big one's turn


async def test_a_hold_ends_when_nobody_asks_again(park: Callable[[Mailbox[str]], Parked]) -> None:
    mailbox = one_lane(capacity=2)
    for item in "ab":
        mailbox.send_nowait("poll", item, 1)
    parked = park(mailbox)
    for item in "cdefg":
        await parked.add(item, 1)
    with pytest.raises(LaneFull):
        mailbox.send_nowait("poll", "once", 1)
    sizes = []
    for _ in range(4):
        await mailbox.receive_batch(1)
        sizes.append(mailbox.statistics()["lanes"]["poll"]["waiting_size"])
    assert sizes == [1, 2, 2, 2]


async def test_nothing_is_held_back_when_no_send_nowait_was_refused(park: Callable[[Mailbox[str]], Parked]) -> None:
    mailbox = one_lane(capacity=2)
    for item in "ab":
        mailbox.send_nowait("poll", item, 1)
    parked = park(mailbox)
    for item in "cd":
        await parked.add(item, 1)
    assert await mailbox.receive_batch(1) == ["a"]
    assert mailbox.statistics()["lanes"]["poll"]["waiting_size"] == 2


async def drained_shares(weights: dict[str, int], sizes: dict[str, int], total: int, max_size: int) -> dict[str, int]:
    """How much of each lane is among the first `total` units served, while every lane still has something waiting."""
    mailbox: Mailbox[tuple[str, int]] = Mailbox({name: LaneLimits(10_000, weight) for name, weight in weights.items()})
    for name, size in sizes.items():
        for _ in range(10_000 // size):
            mailbox.send_nowait(name, (name, size), size)
    served = dict.fromkeys(weights, 0)
    while sum(served.values()) < total:
        for name, size in await mailbox.receive_batch(max_size):
            served[name] += size
    return served


@pytest.mark.parametrize("max_size", [1, 7, 100])
async def test_lanes_are_drained_by_weight_however_small_the_batches(max_size: int) -> None:
    weights = {"stream": 3, "http": 2, "poll": 1}
    served = await drained_shares(weights, dict.fromkeys(weights, 1), 1200, max_size)
    assert served == pytest.approx({"stream": 600, "http": 400, "poll": 200}, abs=4)


async def test_weights_count_size_and_not_items() -> None:
    served = await drained_shares({"bulk": 1, "small": 1}, {"bulk": 50, "small": 1}, 2000, 100)
    assert served == pytest.approx({"bulk": 1000, "small": 1000}, abs=50)


async def test_an_idle_lane_earns_no_credit() -> None:
    mailbox: Mailbox[str] = Mailbox({"busy": LaneLimits(1000, 1), "idle": LaneLimits(1000, 1)})
    for _ in range(500):
        mailbox.send_nowait("busy", "busy", 1)
    await mailbox.receive_batch(400)
    for _ in range(100):
        mailbox.send_nowait("idle", "idle", 1)
    batch = await mailbox.receive_batch(20)
    assert batch.count("busy") == 10


async def test_a_closed_mailbox_is_drained_and_then_says_so() -> None:
    mailbox = one_lane()
    mailbox.send_nowait("poll", "a", 1)
    mailbox.close()
    with pytest.raises(MailboxClosed):
        mailbox.send_nowait("poll", "b", 1)
    with pytest.raises(MailboxClosed):
        await mailbox.send("poll", "b", 1)
    assert await mailbox.receive_batch(10) == ["a"]
    with pytest.raises(MailboxClosed):
        await mailbox.receive_batch(10)


async def test_closing_wakes_parked_senders_and_receivers(
    park: Callable[[Mailbox[str]], Parked], nursery: trio.Nursery
) -> None:
    full, empty = one_lane(capacity=1), one_lane()
    full.send_nowait("poll", "a", 1)
    parked = park(full)
    await parked.add("b", 1)
    ends: list[str] = []

    async def receive() -> None:
        try:
            await empty.receive_batch(1)
        except MailboxClosed:
            ends.append("closed")

    nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    full.close()
    empty.close()
    await wait_all_tasks_blocked()
    assert (parked.outcomes, ends) == ({"b": "closed"}, ["closed"])
    assert await full.receive_batch(10) == ["a"]


async def test_everything_inside_can_be_taken_at_once_without_waiting() -> None:
    mailbox: Mailbox[str] = Mailbox({"http": LaneLimits(5, 1), "poll": LaneLimits(5, 1)})
    assert mailbox.take_all() == []
    for lane, item in [("http", "a"), ("poll", "b"), ("http", "c")]:
        mailbox.send_nowait(lane, item, 2)
    assert sorted(mailbox.take_all()) == ["a", "b", "c"]
    assert mailbox.take_all() == []


async def test_the_oldest_wait_counts_from_the_send_even_while_parked(
    park: Callable[[Mailbox[str]], Parked], autojump_clock: MockClock
) -> None:
    mailbox = one_lane(capacity=1)
    assert mailbox.oldest_waiting_seconds() == 0.0
    mailbox.send_nowait("poll", "a", 1)
    await trio.sleep(5)
    await park(mailbox).add("b", 1)
    await trio.sleep(10)
    assert mailbox.oldest_waiting_seconds() == 15.0
    await mailbox.receive_batch(1)
    assert mailbox.oldest_waiting_seconds() == 10.0


async def test_statistics_say_what_is_where() -> None:
    mailbox = one_lane(capacity=5)
    mailbox.send_nowait("poll", "a", 2)
    mailbox.send_nowait("poll", "b", 3)
    with pytest.raises(LaneFull):
        mailbox.send_nowait("poll", "c", 1)
    await mailbox.receive_batch(2)
    lane = mailbox.statistics()["lanes"]["poll"]
    assert lane == {
        "waiting_items": 1,
        "waiting_size": 3,
        "capacity": 5,
        "weight": 1,
        "peak_size": 5,
        "parked_senders": 0,
        "accepted_items": 2,
        "accepted_size": 5,
        "refused_items": 1,
    }


@pytest.mark.parametrize(("capacity", "weight"), [(0, 1), (1, 0)])
def test_lanes_without_room_or_share_are_refused(capacity: int, weight: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LaneLimits(capacity, weight)


def test_a_mailbox_needs_a_lane() -> None:
    with pytest.raises(ValueError, match="one lane"):
        Mailbox({})
