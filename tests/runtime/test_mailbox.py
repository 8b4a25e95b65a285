"""The mailbox: bounds, order, and nothing lost when anybody is cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from runtime.mailbox import LaneFull, Mailbox, MailboxClosed
from runtime.mailbox_lane import LaneLimits, LaneStatistics
from tests.runtime.parked_senders import one_lane

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.runtime.parked_senders import Park


async def test_items_of_a_lane_come_out_in_the_order_they_went_in() -> None:
    mailbox = one_lane()
    for item in "abc":
        mailbox.send_nowait("poll", item, 1)
    assert await mailbox.receive_batch(100) == ["a", "b", "c"]


async def test_a_batch_takes_whole_items_up_to_its_size_at_least_one() -> None:
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


async def test_an_item_larger_than_its_lane_needs_an_empty_lane() -> None:
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


async def test_two_receivers_share_the_items(nursery: trio.Nursery) -> None:
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


async def test_parked_senders_are_admitted_in_their_order(park: Park) -> None:
    mailbox = one_lane(capacity=4)
    mailbox.send_nowait("poll", "first", 4)
    parked = park(mailbox)
    for item, size in [("big", 3), ("small", 1), ("tiny", 1)]:
        await parked.add(item, size)
    assert mailbox.statistics().lanes["poll"].parked_senders == 3
    batches = [await mailbox.receive_batch(4) for _ in range(3)]
    assert batches == [["first"], ["big", "small"], ["tiny"]]


async def test_a_sender_behind_a_large_one_does_not_overtake_it(park: Park) -> None:
    mailbox = one_lane(capacity=4)
    for item in "ab":
        mailbox.send_nowait("poll", item, 2)
    parked = park(mailbox)
    await parked.add("large", 4)
    await parked.add("small", 1)
    assert await mailbox.receive_batch(2) == ["a"]
    await wait_all_tasks_blocked()
    assert parked.outcomes == {"large": "cancelled", "small": "cancelled"}  # both still wait


async def test_a_cancelled_sender_leaves_no_item_and_lets_the_next_in(
    park: Park,
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


async def test_a_sender_cancelled_while_it_is_admitted_has_sent(
    park: Park,
) -> None:
    mailbox = one_lane(capacity=1)
    mailbox.send_nowait("poll", "first", 1)
    parked = park(mailbox)
    await parked.add("second", 1)
    assert await mailbox.receive_batch(1) == [
        "first"
    ]  # admits the second; its task has not run yet
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
    assert mailbox.statistics().lanes["poll"].accepted_items == 0


async def test_a_send_cancelled_after_it_put_its_item_in_has_sent() -> None:
    mailbox: Mailbox[int] = Mailbox({"poll": LaneLimits(capacity=100, weight=1)})
    sent: list[int] = []
    cancelled_meanwhile = 0

    async def cancel(scope: trio.CancelScope) -> None:
        scope.cancel()

    for attempt in range(
        50
    ):  # trio decides by chance whether the cancellation comes before or after the checkpoint
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
async def test_a_cancelled_receiver_takes_an_item_or_leaves_it(
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
    waiting = mailbox.statistics().lanes["poll"].waiting_items
    assert (got, waiting) == (([], 1) if cancel_first else (["a"], 0))


async def test_send_and_receive_are_checkpoints_also_without_blocking() -> None:
    mailbox = one_lane()
    with trio.testing.assert_checkpoints():
        await mailbox.send("poll", "a", 1)
    with trio.testing.assert_checkpoints():
        await mailbox.receive_batch(1)


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
    park: Park, nursery: trio.Nursery
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
    park: Park, autojump_clock: MockClock
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


async def test_statistics_count_the_items_of_every_lane(autojump_clock: MockClock) -> None:
    mailbox = one_lane(capacity=5)
    mailbox.send_nowait("poll", "a", 2)
    mailbox.send_nowait("poll", "b", 3)
    with pytest.raises(LaneFull):
        mailbox.send_nowait("poll", "c", 1)
    await mailbox.receive_batch(2)
    lane = mailbox.statistics().lanes["poll"]
    assert lane == LaneStatistics(
        waiting_items=1,
        waiting_size=3,
        set_aside_size=0,
        capacity=5,
        weight=1,
        peak_size=5,
        parked_senders=0,
        accepted_items=2,
        accepted_size=5,
        refused_items=1,
        oldest_waiting_seconds=0.0,
    )


@pytest.mark.parametrize(("capacity", "weight"), [(0, 1), (1, 0)])
def test_lanes_without_room_or_share_are_refused(capacity: int, weight: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LaneLimits(capacity, weight)


def test_a_mailbox_needs_a_lane() -> None:
    with pytest.raises(ValueError, match="one lane"):
        Mailbox({})
