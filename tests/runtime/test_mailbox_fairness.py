"""The mailbox: who goes first, inside a lane and between lanes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from runtime.mailbox import LaneFull, Mailbox
from runtime.mailbox_lane import LaneLimits
from tests.runtime.parked_senders import one_lane

if TYPE_CHECKING:
    from tests.runtime.parked_senders import Park


async def test_a_send_nowait_does_not_overtake_parked_senders(park: Park) -> None:
    mailbox = one_lane(capacity=4)
    mailbox.send_nowait("poll", "first", 2)
    parked = park(mailbox)
    await parked.add("waiting", 3)
    with pytest.raises(LaneFull):
        mailbox.send_nowait("poll", "pushy", 1)  # there is room for it, but not for the one in line
    assert parked.outcomes == {"waiting": "cancelled"}


async def contend(
    mailbox: Mailbox[str], *, rounds: int, drain: int, size: int, pushes: int
) -> dict[str, int]:
    """Return how many items each sender got in.

    Ten senders always park; one never does but tries often. One receiver takes the items.
    """
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
async def test_neither_parked_senders_nor_send_nowait_starve(
    drain: int, size: int, pushes: int
) -> None:
    through = await contend(one_lane(capacity=10), rounds=40, drain=drain, size=size, pushes=pushes)
    assert through["nowait"] >= 10
    assert through["parked"] >= 20


async def test_a_hold_is_for_as_much_as_was_asked_and_no_more(park: Park) -> None:
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


async def test_a_hold_ends_without_another_request(park: Park) -> None:
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
        sizes.append(mailbox.statistics().lanes["poll"].waiting_size)
    assert sizes == [1, 2, 2, 2]


async def test_nothing_is_held_back_when_no_send_nowait_was_refused(park: Park) -> None:
    mailbox = one_lane(capacity=2)
    for item in "ab":
        mailbox.send_nowait("poll", item, 1)
    parked = park(mailbox)
    for item in "cd":
        await parked.add(item, 1)
    assert await mailbox.receive_batch(1) == ["a"]
    assert mailbox.statistics().lanes["poll"].waiting_size == 2


async def drained_shares(
    weights: dict[str, int], sizes: dict[str, int], total: int, max_size: int
) -> dict[str, int]:
    """Return how much of each lane is among the first `total` units served.

    Every lane has something waiting all the time.
    """
    mailbox: Mailbox[tuple[str, int]] = Mailbox(
        {name: LaneLimits(10_000, weight) for name, weight in weights.items()}
    )
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
