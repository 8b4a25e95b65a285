"""The ingest actor over the twin: batches, receipts, and a database that is away."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from actors.ingest import MAX_UNIT_UPDATES, IngestActor
from actors.lanes import LANES
from domain.resource import workspace_resource
from runtime.mailbox import LaneFull, MailboxClosed
from runtime.supervisor import Restart, Supervisor
from tests.actors.harness import owned_by, said, submission, update

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, MutableMapping, Sequence

    from trio.testing import MockClock

    from domain.deferral import Key
    from domain.model import Receipt, SessionRef, Submission
    from storage.memory import MemoryStore
    from storage.unit_steps import Statement
    from tests.actors.harness import Harness, Shard

    Events = list[MutableMapping[str, Any]]

POISON = 13


class Watched:
    """A store between the actor and the twin that notes every attempt, and crashes when told to."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.attempts: list[tuple[float, int, int]] = []  # when, unit, submissions
        self.crashes: list[Exception] = []

    async def commit_unit(
        self, session: SessionRef, unit: int, submissions: Sequence[Submission]
    ) -> Sequence[Receipt]:
        self.attempts.append((trio.current_time(), unit, len(submissions)))
        if self.crashes:
            await trio.lowlevel.checkpoint()
            raise self.crashes.pop()
        return await self._store.commit_unit(session, unit, submissions)

    async def find_locked(self, rows: Collection[Key]) -> Mapping[Key, str]:
        return await self._store.find_locked(rows)

    async def load_last_unit(self, session: SessionRef) -> int | None:
        return await self._store.load_last_unit(session)

    async def quarantine(self, *args: Any) -> Sequence[Receipt]:
        return await self._store.quarantine(*args)


@pytest.fixture
async def watched(harness: Harness, shard: Shard) -> Watched:
    """The shard's ingest actor works through it."""
    store = Watched(harness.store)
    shard.ingest = IngestActor(store, shard.current, random=Random(7))
    return store


def delays(watched: Watched) -> list[float]:
    return [later[0] - earlier[0] for earlier, later in pairwise(watched.attempts)]


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


# --- the database is away


async def test_an_absent_database_changes_neither_batch_nor_number(
    harness: Harness,
    watched: Watched,
    shard: Shard,
    nursery: trio.Nursery,
    events: Events,
    autojump_clock: MockClock,
) -> None:
    nursery.start_soon(shard.ingest.run)
    await shard.send(update("bus-1", 0, soc_percent=10)).wait()
    harness.store.go_away()
    replies = [shard.send(update("bus-1", second, soc_percent=second)) for second in range(1, 6)]
    await trio.sleep(120)
    assert shard.ingest.is_failing
    assert shard.ingest.oldest_waiting_seconds() == pytest.approx(120)
    assert {(unit, submissions) for _, unit, submissions in watched.attempts[1:]} == {(2, 5)}
    harness.store.come_back()
    assert [said(await reply.wait()) for reply in replies] == [["accepted"]] * 5
    assert await harness.sequences("bus-1") == [1, 2, 3, 4, 5, 6]
    assert not shard.ingest.statistics().failing
    assert [event["event"] for event in events if event["event"].startswith("ingest_commit")] == [
        "ingest_commit_failed",
        "ingest_commit_recovered",
    ]


async def test_retries_back_off_with_jitter_and_heed_retry_after(
    harness: Harness,
    watched: Watched,
    shard: Shard,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    harness.store.go_away()
    nursery.start_soon(shard.ingest.run)
    shard.send(update("bus-1", 0, soc_percent=10))
    await trio.sleep(300)
    waited = delays(watched)
    assert min(waited) >= 0.2  # DatabaseAway's retry_after is a floor
    assert max(waited) <= 0.2 + 5.0
    assert len(set(waited)) == len(waited)
    assert max(waited[:3]) < 1.0 < max(waited)


async def test_a_recovery_begins_again_with_short_delays(
    harness: Harness,
    watched: Watched,
    shard: Shard,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    nursery.start_soon(shard.ingest.run)
    for _ in range(2):
        harness.store.go_away()
        reply = shard.send(update("bus-1", trio.current_time(), soc_percent=10))
        await trio.sleep(120)
        harness.store.come_back()
        await reply.wait()
        assert max(delays(watched)[:2]) < 1.0
        watched.attempts.clear()


@pytest.mark.parametrize("after", [True, False])
async def test_a_unit_whose_commit_was_lost_is_stored_exactly_once(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock, *, after: bool
) -> None:
    """An applied unit is believed, another one is replayed; receipts and counts are exact."""
    harness.store.lose_commit(after=after)
    nursery.start_soon(shard.ingest.run)
    replies = [shard.send(update(bus, 1, soc_percent=10)) for bus in ("bus-1", "bus-1", "bus-2")]
    assert [said(await reply.wait()) for reply in replies] == [
        ["accepted"],
        ["duplicate"],
        ["accepted"],
    ]
    assert await harness.sequences("bus-1") == [1]
    assert shard.ingest.statistics().outcomes == {"accepted": 2, "duplicate": 1}
    assert said(await shard.send(update("bus-1", 2, soc_percent=11)).wait()) == ["accepted"]


async def test_a_commit_in_doubt_waits_until_the_database_can_tell(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    harness.store.lose_commit(after=True)

    async def then_go_away(statement: Statement) -> None:
        harness.store.before_each_statement(None)
        nursery.start_soon(go_away)

    async def go_away() -> None:
        harness.store.go_away()

    harness.store.before_each_statement(then_go_away)
    nursery.start_soon(shard.ingest.run)
    reply = shard.send(update("bus-1", 1, soc_percent=10))
    await trio.sleep(60)
    assert not reply.done
    harness.store.come_back()
    assert said(await reply.wait()) == ["accepted"]
    assert await harness.sequences("bus-1") == [1]


async def test_a_bug_in_the_store_restarts_with_the_same_batch(
    harness: Harness, watched: Watched, shard: Shard, events: Events, autojump_clock: MockClock
) -> None:
    watched.crashes = [ZeroDivisionError("a bug"), KeyError("another")]
    supervisor = Supervisor("test", random=Random(1))
    async with supervisor.open():
        supervisor.start("ingest", shard.ingest.run, restart=Restart.TRANSIENT, essential=True)
        replies = [shard.send(update("bus-1", second, soc_percent=second)) for second in range(3)]
        assert [said(await reply.wait()) for reply in replies] == [["accepted"]] * 3
        assert [attempt[1:] for attempt in watched.attempts] == [(1, 3)] * 3
        assert supervisor.statistics().crashes == 2
    assert await harness.sequences("bus-1") == [1, 2, 3]


# --- another epoch takes over


async def test_the_next_session_refuses_what_a_fenced_one_owned(
    harness: Harness, shard: Shard, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(shard.ingest.run)
    await shard.send(update("ferry-1", 0, soc_percent=10)).wait()
    start = await harness.store.begin_session("shard-1", ttl_seconds=15)
    assert start is not None
    owned = shard.send(update("bus-1", 1, soc_percent=10), ownership=owned_by(shard.session))
    from_http = shard.send(update("bus-2", 1, soc_percent=10), origin="http")
    await trio.sleep(60)
    assert shard.current.session is None
    assert not owned.done
    shard.current.replace(start.session)
    assert said(await owned.wait()) == ["rejected:fenced"]
    receipt = await from_http.wait()
    assert (said(receipt), receipt and receipt.unit) == (
        ["accepted"],
        1,
    )  # a new session counts its units anew
    assert await harness.sequences("bus-1") == []


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
