"""Notices over LISTEN and NOTIFY: content, lost connections, and that nothing piles up."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from storage.faults import DatabaseAway
from storage.gateway import Database, open_bridge
from storage.notices import CHANNEL, BoxStatistics, NoticeBox, PostgresNotices
from storage.timeouts import Timeouts
from tests.storage.proxy import open_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from storage.gateway import Connection

LISTENERS = (
    "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'listener'"
)


class Ear:
    """Keeps what it is told until somebody asks, each wait with a deadline."""

    def __init__(self) -> None:
        self.tell, self._receive = trio.open_memory_channel[str](100)

    def __call__(self, notice: str) -> None:
        self.tell.send_nowait(notice)

    async def heard(self) -> str:
        with trio.fail_after(10):
            return await self._receive.receive()


@pytest.fixture
async def listener(dsn: str, database: Database) -> AsyncIterator[Database]:
    """Another gateway to the same database, within the same bridge, known by its name."""
    listener = Database(dsn, pool_size=1, application_name="listener")
    yield listener
    await listener.aclose()


async def notify(database: Database, *notices: str) -> None:
    async def work(connection: Connection) -> None:
        for notice in notices:
            await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, notice)

    await database.run(work)


async def count_listeners(database: Database) -> int:
    count: int = await database.run(
        lambda connection: connection.fetchval(f"SELECT count(*) {LISTENERS}")
    )
    return count


async def test_notices_arrive_in_order_and_first_of_all_the_bare_one(
    listener: Database, database: Database, nursery: trio.Nursery
) -> None:
    ear, notices = Ear(), PostgresNotices(listener)
    nursery.start_soon(notices.listen, ear)
    assert await ear.heard() == ""
    await notify(database, "leases", "workspace:harbour")
    assert [await ear.heard(), await ear.heard()] == ["leases", "workspace:harbour"]
    told = notices.statistics()
    assert (told.connections, told.box, told.edge.is_failing) == (
        1,
        BoxStatistics(heard=3, pending=0, overflows=0),
        False,
    )
    assert listener.statistics().listening == 1
    nursery.cancel_scope.cancel()


async def test_a_listener_needs_no_slot(listener: Database, nursery: trio.Nursery) -> None:
    ear = Ear()
    nursery.start_soon(PostgresNotices(listener).listen, ear)
    assert await ear.heard() == ""
    assert await listener.run(lambda connection: connection.fetchval("SELECT 1")) == 1
    nursery.cancel_scope.cancel()


async def test_after_a_lost_connection_the_listener_works_again(
    listener: Database, database: Database, nursery: trio.Nursery
) -> None:
    ear, notices = Ear(), PostgresNotices(listener, Random(1))
    nursery.start_soon(notices.listen, ear)
    assert await ear.heard() == ""
    kill = f"SELECT pg_terminate_backend(pid) {LISTENERS}"
    await database.run(lambda connection: connection.execute(kill))
    assert await ear.heard() == ""  # at once: the check is ten seconds away
    await notify(database, "leases")
    assert await ear.heard() == "leases"
    assert notices.statistics().connections == 2
    nursery.cancel_scope.cancel()


async def test_a_dead_connection_is_noticed_by_the_check(dsn: str, nursery: trio.Nursery) -> None:
    """Nothing ends it: no packet comes any more. Only asking tells."""
    async with open_proxy(dsn) as proxy, open_bridge():
        listener = Database(proxy.dsn, pool_size=1, timeouts=Timeouts(connect=0.5, command=0.3))
        ear, notices = Ear(), PostgresNotices(listener, Random(1), check_seconds=0.1)
        async with trio.open_nursery() as inner:
            inner.start_soon(notices.listen, ear)
            assert await ear.heard() == ""
            proxy.freeze()
            with trio.fail_after(5):
                while not notices.statistics().edge.is_failing:
                    await trio.testing.wait_all_tasks_blocked(0.01)
            proxy.thaw()
            assert await ear.heard() == ""
            assert not notices.statistics().edge.is_failing
            inner.cancel_scope.cancel()
        await listener.aclose()


@pytest.mark.parametrize("milliseconds", [0, 1, 3, 6, 10, 20, 50])
async def test_a_listener_cancelled_at_any_moment_leaves_no_connection(
    listener: Database, database: Database, milliseconds: int
) -> None:
    with trio.move_on_after(milliseconds / 1000):
        await listener.listen(CHANNEL, lambda _notice: None)
    assert listener.statistics().listening == 0
    with trio.fail_after(5):
        while await count_listeners(database):
            pass


async def test_a_cancellation_that_meets_a_wake_up_is_not_swallowed(
    listener: Database,
) -> None:
    """Both come in one tick, as when a session ends while its server goes down.

    asyncio.wait_for would go on waiting.
    """
    ear = Ear()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.listen, CHANNEL, ear)
            assert await ear.heard() == ""
            while not (waiting := [look for look in listener._pool.listeners if look._waiters]):
                await trio.testing.wait_all_tasks_blocked(0.01)
            waiting[0].set()
            nursery.cancel_scope.cancel()
    assert listener.statistics().listening == 0


async def test_nobody_there_is_away_and_asked_again_with_pauses(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The real backoff on a clock that jumps: no server is involved, only refusals."""
    async with open_bridge():
        absent = Database("postgresql://postgres@/x?host=/nonexistent")
        with pytest.raises(DatabaseAway):
            await absent.listen(CHANNEL, lambda _notice: None)
        notices = PostgresNotices(absent, Random(1))
        with trio.move_on_after(60):
            await notices.listen(lambda _notice: None)
        assert 10 < notices.statistics().edge.failures < 60
        await absent.aclose()


async def test_a_bug_in_the_callback_is_raised_and_ends_its_connection(
    listener: Database, database: Database
) -> None:
    def fail(_notice: str) -> None:
        raise LookupError("ours")

    with pytest.raises(ExceptionGroup) as group:
        await PostgresNotices(listener).listen(fail)
    assert group.group_contains(LookupError, match="ours")
    assert listener.statistics().listening == 0


# --- The box --------------------------------------------------------------------------------------


async def test_a_box_tells_each_notice_once_in_the_order_of_arrival() -> None:
    box = NoticeBox()
    for notice in ("b", "a", "b"):
        box.put(notice)
    assert await box.take() == ["b", "a"]
    assert box.statistics() == BoxStatistics(heard=3, pending=0, overflows=0)


async def test_a_full_box_says_look_at_everything() -> None:
    box = NoticeBox(max_pending=2)
    for notice in "abcd":
        box.put(notice)
    assert await box.take() == ["", "d"]
    assert box.statistics().overflows == 1


async def test_an_empty_box_waits(autojump_clock: trio.testing.MockClock) -> None:
    box = NoticeBox()
    with trio.move_on_after(1) as waiting:
        await box.take()
    assert waiting.cancelled_caught
