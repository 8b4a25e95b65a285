"""The ingest actor over the twin: its batches, its counts, and how it ends."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from actors.lanes import LANES
from actors.unit_writer import MAX_UNIT_UPDATES
from domain.resource import workspace_resource
from runtime.mailbox import LaneFull, MailboxClosed
from tests.actors.harness import owned_by, said, submission, update

if TYPE_CHECKING:
    from trio.testing import MockClock

    from storage.unit.steps import Statement
    from tests.actors.harness import Harness, Shard
    from tests.actors.watching import Watched

POISON = 13


# --- batches


async def test_what_waits_while_a_unit_commits_becomes_the_next_unit(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hold = trio.Event()

    async def pause(statement: Statement) -> None:
        if statement.name == "fence":
            await hold.wait()

    harness.store.before_each_statement(pause)
    nursery.start_soon(shard.ingest.run)
    first = shard.send(update("bus-1", 0, soc_percent=10))
    await trio.testing.wait_all_tasks_blocked()
    later = [shard.send(update("bus-2", second, soc_percent=second)) for second in range(1, 8)]
    hold.set()
    receipts = [await reply.wait() for reply in [first, *later]]
    assert [receipt and receipt.unit for receipt in receipts] == [1] + [2] * 7
    assert shard.ingest.statistics().largest_unit == 7


async def test_a_lone_submission_is_committed_at_once(
    shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    await trio.testing.wait_all_tasks_blocked()
    assert said(await shard.send(update("bus-1", 0, soc_percent=10)).wait()) == ["accepted"]
    assert trio.current_time() == 0


async def test_a_unit_holds_no_more_than_its_share(
    watched: Watched, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    sent = [
        shard.send(*(update("bus-1", n, soc_percent=n % 100) for n in range(400))) for _ in range(5)
    ]
    nursery.start_soon(shard.ingest.run)
    for reply in sent:
        await reply.wait()
    assert [submissions for _, _, submissions in watched.attempts] == [2, 2, 1]
    assert shard.ingest.statistics().largest_unit <= MAX_UNIT_UPDATES


async def test_a_receipt_resolves_after_the_commit_and_not_before(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    versions = []
    sent, _ = submission(update("bus-1", 0, soc_percent=10))
    sent.resolve = lambda receipt: versions.append(
        (said(receipt), harness.store.tables.device_state.get(("harbour", "bus-1")))
    )
    shard.ingest.submit_nowait(sent)
    nursery.start_soon(shard.ingest.run)
    await trio.testing.wait_all_tasks_blocked()
    (((outcome,), state),) = versions
    assert (outcome, state and state.version) == ("accepted", 1)


async def test_a_bug_in_one_receiver_leaves_the_others_their_receipts(
    shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock, events: list[Any]
) -> None:
    def fail(_receipt: object) -> None:
        raise ZeroDivisionError

    faulty, _ = submission(update("bus-1", 0, soc_percent=10))
    faulty.resolve = fail
    shard.ingest.submit_nowait(faulty)
    reply = shard.send(update("bus-2", 0, soc_percent=20))
    nursery.start_soon(shard.ingest.run)
    assert said(await reply.wait()) == ["accepted"]
    assert "receipt_not_taken" in [event["event"] for event in events]


async def test_a_full_lane_refuses_submit_nowait_and_parks_submit(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    harness.store.go_away()
    nursery.start_soon(shard.ingest.run)
    updates = tuple(update("bus-1", n, soc_percent=1) for n in range(500))
    for _ in range(LANES["http"].capacity // len(updates)):
        shard.send(*updates, origin="http")
    with pytest.raises(LaneFull):
        shard.send(*updates, origin="http")
    waiting, reply = submission(update("bus-2", 1, soc_percent=1), origin="http")
    nursery.start_soon(shard.ingest.submit, waiting)
    shard.send(update("ferry-1", 2, soc_percent=2), origin="poll")  # other lanes are not concerned
    await trio.sleep(60)
    assert not reply.done
    harness.store.come_back()
    assert said(await reply.wait()) == ["accepted"]


# --- counts


async def test_submitted_always_equals_outcomes_plus_pending(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    random, checked = Random(5), Counter[str]()

    async def check(statement: Statement) -> None:
        shard.check_identity()
        checked[statement.name] += 1

    async def sender(name: str) -> None:
        for second in range(40):
            poison = [update(name, second, soc_percent=POISON)] if second % 10 == 5 else []
            good = [
                update(name, random.randrange(50), soc_percent=50)
                for _ in range(random.randrange(4))
            ]
            sent, _ = submission(*good, *poison, origin=random.choice(("stream", "http", "poll")))
            await shard.ingest.submit(sent)
            shard.check_identity()
            await trio.sleep(random.choice((0, 0, 0.01, 1)))
            if second % 10 == 3:
                harness.store.lose_commit(after=random.random() < 0.5)
            if second % 10 == 7:
                harness.store.go_away(for_next=random.randrange(4))

    harness.store.poison(lambda update: update.readings[0].value == POISON)
    harness.store.before_each_statement(check)
    nursery.start_soon(shard.ingest.run)
    async with trio.open_nursery() as senders:
        for name in ("bus-1", "bus-2", "ferry-1", "nobody"):
            senders.start_soon(sender, name)
    shard.ingest.close()
    await shard_ended(shard)
    counted = shard.ingest.statistics()
    assert counted.pending == 0
    assert sum(counted.outcomes.values()) == counted.submitted > 100
    assert {"accepted", "rejected", "quarantined"} <= counted.outcomes.keys()
    assert checked.keys() >= {"fence", "append_events", "append_quarantine"}


async def shard_ended(shard: Shard) -> None:
    """Wait until everything submitted has its verdict."""
    with trio.fail_after(600):
        while shard.ingest.statistics().pending:  # noqa: ASYNC110 - virtual time
            await trio.sleep(0.1)


async def test_outcomes_are_counted_by_reason_and_by_resource(
    shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    owned = shard.send(
        update("bus-1", 1, soc_percent=10), update("nobody", 1), ownership=owned_by(shard.session)
    )
    await owned.wait()
    counted = shard.ingest.statistics()
    assert counted.reasons == {"unknown_device": 1}
    assert counted.by_resource == {"workspace:harbour": {"accepted": 1, "rejected": 1}}


async def test_dropped_readings_of_accepted_updates_are_counted(
    shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    await shard.send(
        update("bus-1", 1, soc_percent=102.0, speed_kmh=-5.0, odometer_km=7.0),
        update("bus-1", 1, odometer_km=8.0),
    ).wait()
    counted = shard.ingest.statistics()
    assert counted.outcomes == {"accepted": 1, "conflict": 1}
    assert counted.dropped_readings == {"not_available": 1, "invalid": 1}
    assert (counted.conflicting_readings, counted.ahead_readings) == (1, 0)


async def test_a_resource_is_judged_with_its_last_submission(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    harness.store.go_away()
    nursery.start_soon(shard.ingest.run)
    mine, other = owned_by(shard.session), owned_by(shard.session, "island")
    replies = [
        shard.send(update("bus-1", second, soc_percent=1), ownership=mine) for second in range(3)
    ]
    shard.send(update("bus-1", 9, soc_percent=1), ownership=other)
    with trio.move_on_after(60) as waiting:
        await shard.ingest.wait_until_judged(mine.resource)
    assert waiting.cancelled_caught
    await shard.ingest.wait_until_judged(
        workspace_resource("elsewhere")
    )  # nothing was ever submitted
    harness.store.come_back()
    await shard.ingest.wait_until_judged(mine.resource)
    assert all(reply.done for reply in replies)


# --- the way out


async def test_a_closed_actor_commits_what_it_has_and_returns(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    replies = [shard.send(update("bus-1", second, soc_percent=second)) for second in range(5)]
    shard.ingest.close()
    with pytest.raises(MailboxClosed):
        shard.send(update("bus-1", 9, soc_percent=9))
    with trio.fail_after(60):
        await shard.ingest.run()
    assert [said(await reply.wait()) for reply in replies] == [["accepted"]] * 5


async def test_giving_up_tells_every_sender_that_waits(
    harness: Harness, shard: Shard, autojump_clock: MockClock
) -> None:
    """Both the batch in hand and the submissions in the mailbox."""
    harness.store.go_away()
    in_hand = shard.send(update("bus-1", 1, soc_percent=1))
    with trio.move_on_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shard.ingest.run)
            await trio.testing.wait_all_tasks_blocked()
            waiting = [shard.send(update("bus-2", second, soc_percent=1)) for second in range(3)]
            shard.ingest.close()
    assert shard.ingest.give_up() == 4
    assert [await reply.wait() for reply in [in_hand, *waiting]] == [None] * 4
    shard.check_identity()
    assert shard.ingest.give_up() == 0


async def test_a_unit_that_commits_after_giving_up_is_only_counted(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def commit_slowly(_statement: object) -> None:
        await trio.sleep(1)

    harness.store.before_each_statement(commit_slowly)
    reply = shard.send(update("bus-1", 1, soc_percent=1))
    nursery.start_soon(shard.ingest.run)
    await trio.sleep(1.5)
    shard.ingest.close()
    assert shard.ingest.give_up() == 1
    assert await reply.wait() is None
    await trio.sleep(60)
    shard.check_identity()
    assert shard.ingest.statistics().pending == 0
