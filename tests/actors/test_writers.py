"""The writers of one ingest actor over the twin: apart by workspace, and exact in every trouble."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.claims import workspaces_of
from actors.ingest import IngestActor
from actors.unit_writer import MIN_SHARED_UPDATES
from ports.ingest import WRITERS, CommitUnknown
from runtime.supervisor import Restart, Supervisor
from tests.actors.harness import STEADY, polled, said, submission, until, update
from tests.actors.watched_store import WatchedStore

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, MutableMapping, Sequence

    from trio.testing import MockClock

    from domain.deferral import Key
    from domain.model import CanonicalUpdate, Receipt, SessionRef, Submission
    from domain.refusals import RefusalCounts
    from runtime.reply import Reply
    from storage.unit.steps import Statement
    from tests.actors.harness import Harness, Shard

    Events = list[MutableMapping[str, Any]]

FLEETS = tuple(f"fleet-{number}" for number in range(6))
STREAMED, POSTED = FLEETS[::2], FLEETS[1::2]  # each in one lane: there is no order between lanes
BUSES = ("bus-1", "bus-2", "bus-3")
SOON = 3600.0
PART = MIN_SHARED_UPDATES // 2


@dataclass
class Load:
    """Submissions whose updates are all news, if each device's are stored in the order sent."""

    random: Random
    sent: Counter[tuple[str, str]] = field(default_factory=Counter)  # updates, by device

    def updates(self, workspace_id: str, count: int) -> list[CanonicalUpdate]:
        made = []
        for _ in range(count):
            bus = self.random.choice(BUSES)
            self.sent[workspace_id, bus] += 1
            seconds = self.sent[workspace_id, bus]
            made.append(
                update(bus, seconds, soc_percent=seconds % 90)._replace(
                    workspace_id=workspace_id, provider_id=STEADY
                )
            )
        return made

    def submission(self, *workspaces: str, size: int) -> tuple[Submission, Reply[Receipt | None]]:
        parts = [each for name in workspaces for each in self.updates(name, size)]
        return submission(*parts, origin="stream" if workspaces[0] in STREAMED else "http")


@dataclass
class Scene:
    """An ingest actor with its writers, and what was sent to it."""

    harness: Harness
    shard: Shard
    watched: WatchedStore
    ingest: IngestActor
    load: Load
    replies: list[Reply[Receipt | None]] = field(default_factory=list)

    def send(self, *workspaces: str, size: int = PART) -> Reply[Receipt | None]:
        sent, reply = self.load.submission(*workspaces, size=size)
        self.ingest.submit_nowait(sent)
        self.replies.append(reply)
        return reply

    async def assert_all_stored(self) -> None:
        """Assert that each update was stored once and in order, and that its sender was told."""
        with trio.fail_after(SOON):
            outcomes = [said(await reply.wait()) for reply in self.replies]
        assert {word for words in outcomes for word in words} == {"accepted"}
        for (workspace_id, bus), count in self.load.sent.items():
            numbers = await self.harness.sequences(bus, workspace_id)
            assert numbers == list(range(1, count + 1))
        counted = self.ingest.statistics()
        total = self.load.sent.total()
        assert (counted.submitted, dict(counted.outcomes), counted.pending) == (
            total,
            {"accepted": total},
            0,
        )


@pytest.fixture
async def scene(harness: Harness, shard: Shard) -> Scene:
    for name in FLEETS:
        await harness.add_workspace(name)
        await harness.add_connection(polled(STEADY, name), *BUSES)
    watched = WatchedStore(harness.store)
    ingest = IngestActor(watched, shard.current, random=Random(3))
    return Scene(harness, shard, watched, ingest, Load(Random(5)))


async def interleave(scene: Scene, random: Random) -> None:
    """Let every statement of every unit take a time of its own."""

    async def pause(_: Statement) -> None:
        await trio.sleep(random.choice((0, 0.001, 0.02, 0.1)))

    scene.harness.store.before_each_statement(pause)


async def test_units_of_different_workspaces_are_in_flight_together(
    scene: Scene, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    for name in FLEETS * 4:
        scene.send(name)
    await interleave(scene, Random(2))
    nursery.start_soon(scene.ingest.run)
    await scene.assert_all_stored()
    assert scene.watched.most_together == WRITERS
    assert scene.ingest.statistics().units < 12


async def test_a_backlog_is_shared_out_among_the_writers(
    scene: Scene, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Submissions of all workspaces wait in turns, so a unit could take some of each."""
    await interleave(scene, Random(2))
    for name in FLEETS * 40:
        scene.send(name, size=PART // 10)
    nursery.start_soon(scene.ingest.run)
    await scene.assert_all_stored()
    assert scene.watched.beside_another >= len(scene.watched.sizes) // 2


async def test_one_workspace_alone_has_one_full_unit_in_flight(
    scene: Scene, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    for _ in range(16):
        scene.send(FLEETS[0])
    nursery.start_soon(scene.ingest.run)
    await scene.assert_all_stored()
    assert all(len(writers) == 1 for writers in scene.watched.together)
    assert scene.watched.sizes == [4 * PART] * 4


async def test_little_that_waits_is_left_to_one_writer(
    scene: Scene, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(scene.ingest.run)
    for _ in range(50):
        for name in FLEETS:
            scene.send(name, size=2)
        await trio.sleep(0.001)
    await scene.assert_all_stored()
    assert scene.watched.together == {frozenset({0})}


async def test_a_huge_workspace_does_not_stop_the_others(
    scene: Scene, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    scene.harness.store.hold_row("device_state", FLEETS[0], "bus-1")
    scene.harness.store.hold_row("device_state", FLEETS[0], "bus-2")
    scene.harness.store.hold_row("device_state", FLEETS[0], "bus-3")
    for _ in range(6):
        scene.send(FLEETS[0])
    others = [scene.send(name) for name in FLEETS[1:]]
    nursery.start_soon(scene.ingest.run)
    with trio.fail_after(5):
        for reply in others:
            await reply.wait()
    scene.harness.store.release_rows()
    await scene.assert_all_stored()


async def test_a_commit_in_doubt_leaves_the_other_writer_at_work(
    scene: Scene, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Writer 1 learns from its own row what became of its unit; writer 0 commits meanwhile."""
    asked, may_speak = trio.Event(), trio.Event()
    load_last_unit, commit_unit = scene.watched.load_last_unit, scene.watched.commit_unit
    held: set[str] = set()

    async def hesitate(session: SessionRef, writer: int = 0) -> int | None:
        assert writer == 1
        asked.set()
        await may_speak.wait()
        return await load_last_unit(session, writer)

    scene.watched.load_last_unit = hesitate  # type: ignore[method-assign]
    for name in FLEETS * 2:
        scene.send(name)

    async def lose_of_second(
        session: SessionRef,
        unit: int,
        submissions: Sequence[Submission],
        counts: RefusalCounts | None = None,
        writer: int = 0,
    ) -> Sequence[Receipt]:
        receipts = await commit_unit(session, unit, submissions, counts, writer)
        if writer == 1 and not held:
            held.update(*map(workspaces_of, submissions))
            raise CommitUnknown("the answer was lost", receipts)
        return receipts

    scene.watched.commit_unit = lose_of_second  # type: ignore[method-assign]
    nursery.start_soon(scene.ingest.run)
    with trio.fail_after(SOON):
        await asked.wait()
        units = scene.ingest.statistics().units
        scene.send(FLEETS[0], size=1)
        free = [name for name in FLEETS if name not in held]
        reply = scene.send(free[-1], size=1)
        await until(lambda: scene.ingest.statistics().units > units or reply.done, seconds=SOON)
    may_speak.set()
    await scene.assert_all_stored()


async def test_a_crash_of_one_writer_lets_the_other_end_its_unit(
    scene: Scene, autojump_clock: MockClock
) -> None:
    scene.watched.crashes = {0: ZeroDivisionError("a bug"), 1: KeyError("another")}
    supervisor = Supervisor("test", random=Random(1))
    for name in FLEETS * 4:
        scene.send(name)
    async with supervisor.open():
        supervisor.start("ingest", scene.ingest.run, restart=Restart.TRANSIENT, essential=True)
        await scene.assert_all_stored()
        assert supervisor.statistics().crashes in (1, 2)
    assert scene.watched.crashes == {}


async def test_a_writer_heeds_a_stop_while_it_looks_at_locks(
    scene: Scene, autojump_clock: MockClock
) -> None:
    writer = scene.ingest._writers[1]
    scene.ingest._deferred._next_look_at = 0.0  # a look is due

    async def look(rows: Collection[Key]) -> Mapping[Key, str]:
        writer.stop()  # as the crash of the other writer does
        return {}

    scene.watched.find_locked = look  # type: ignore[method-assign]
    with trio.fail_after(SOON):
        await writer.run()


async def test_a_crash_while_the_database_is_away_ends_all_writers(
    scene: Scene, autojump_clock: MockClock
) -> None:
    await interleave(scene, Random(1))
    for name in FLEETS * 4:
        scene.send(name)
    ended: list[type[Exception]] = []

    async def run() -> None:
        with pytest.raises(ZeroDivisionError) as crashed:
            await scene.ingest.run()
        ended.append(crashed.type)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await until(lambda: scene.watched.most_together > 1)
        scene.harness.store.go_away()
        await trio.sleep(20)
        scene.watched.crashes = {1: ZeroDivisionError("a bug")}
        with trio.fail_after(20):
            await until(lambda: bool(ended))
    scene.harness.store.come_back()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.ingest.run)
        await scene.assert_all_stored()
        scene.ingest.close()


async def test_one_trouble_is_logged_once_however_many_writers_meet_it(
    scene: Scene, nursery: trio.Nursery, events: Events, autojump_clock: MockClock
) -> None:
    await interleave(scene, Random(1))
    for name in FLEETS * 4:
        scene.send(name)
    nursery.start_soon(scene.ingest.run)
    await until(lambda: scene.watched.most_together > 1)
    scene.harness.store.go_away()
    await trio.sleep(30)
    assert scene.ingest.is_failing
    assert scene.ingest.oldest_waiting_seconds() == pytest.approx(30, abs=1)
    scene.harness.store.come_back()
    await scene.assert_all_stored()
    told = [each["event"] for each in events if each["event"].startswith("ingest_commit")]
    assert told == ["ingest_commit_failed", "ingest_commit_recovered"]
    assert not scene.ingest.is_failing


# --- many histories


async def no_trouble(scene: Scene, random: Random) -> None:
    await trio.sleep(random.random())


async def lose_a_commit(scene: Scene, random: Random) -> None:
    scene.harness.store.lose_commit(after=random.random() < 0.5)


async def go_away(scene: Scene, random: Random) -> None:
    scene.harness.store.go_away(for_next=random.randrange(1, 6))


async def lock_rows(scene: Scene, random: Random) -> None:
    scene.harness.store.hold_row("device_state", random.choice(FLEETS), random.choice(BUSES))
    await trio.sleep(random.choice((0.1, 2.0)))
    scene.harness.store.release_rows()


async def take_over(scene: Scene, random: Random) -> None:
    """Begin the next session while units are in flight, and tell the writers later."""
    start = await scene.harness.store.begin_session("shard-1", ttl_seconds=15)
    assert start is not None
    await trio.sleep(random.random() / 10)
    scene.shard.current.replace(start.session)


TROUBLES = (no_trouble, lose_a_commit, go_away, lock_rows, take_over)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_no_history_loses_doubles_or_reorders_an_update(
    scene: Scene, nursery: trio.Nursery, autojump_clock: MockClock, trouble: Any, seed: int
) -> None:
    random = Random(seed)
    await interleave(scene, random)
    nursery.start_soon(scene.ingest.run)
    for _ in range(12):
        for _ in range(random.randrange(1, 14)):
            several = random.sample(random.choice((STREAMED, POSTED)), random.choice((1, 1, 2, 3)))
            with trio.move_on_after(SOON):
                sent, reply = scene.load.submission(*several, size=random.choice((1, 20, 150)))
                await scene.ingest.submit(sent)
                scene.replies.append(reply)
        await trouble(scene, random)
        await trio.sleep(random.random() / 5)
    await scene.assert_all_stored()
    if trouble is no_trouble:
        assert scene.watched.most_together > 1
    assert scene.ingest.statistics().deferred.submissions == 0
