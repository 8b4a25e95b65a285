"""A server that stops answering, or whose answer to COMMIT is lost: every call ends in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from storage.faults import CommitInDoubt, DatabaseAway
from storage.gateway import Database, open_bridge
from storage.timeouts import Timeouts
from tests.storage.proxy import open_proxy

if TYPE_CHECKING:
    from storage.gateway import Connection


def impatient(dsn: str, *, command_timeout: float = 0.3) -> Database:
    return Database(
        dsn,
        pool_size=1,
        timeouts=Timeouts(connect=0.3, command=command_timeout, acquire=0.3, cleanup=0.2),
    )


async def select_one(connection: Connection) -> int:
    answer: int = await connection.fetchval("SELECT 1")
    return answer


async def test_calls_to_a_frozen_server_end_in_time_until_it_thaws(
    dsn: str,
) -> None:
    async with open_proxy(dsn) as proxy, open_bridge():
        database = impatient(proxy.dsn)
        assert await database.run(select_one) == 1
        proxy.freeze()
        for _ in range(2):  # the first on the old connection, the second while connecting
            with trio.fail_after(2), pytest.raises(DatabaseAway):
                await database.run(select_one)
        proxy.thaw()
        assert await database.run(select_one) == 1
        assert database.statistics().in_use == 0
        await database.aclose()


async def test_a_call_to_a_frozen_server_can_be_cancelled(dsn: str) -> None:
    async with open_proxy(dsn) as proxy, open_bridge():
        database = impatient(proxy.dsn, command_timeout=30)
        assert await database.run(select_one) == 1
        proxy.freeze()
        with trio.fail_after(2), trio.move_on_after(0.05) as scope:
            await database.run(select_one)
        assert scope.cancelled_caught
        await database.aclose()


async def test_the_deadline_of_a_call_holds_over_its_other_bounds(dsn: str) -> None:
    async with open_proxy(dsn) as proxy, open_bridge():
        database = impatient(proxy.dsn, command_timeout=30)
        assert await database.run(select_one) == 1
        proxy.freeze()
        with trio.fail_after(2), pytest.raises(DatabaseAway, match=r"no answer within 0\.1 s"):
            await database.run(select_one, deadline_seconds=0.1)
        assert database.statistics().deadlines == 1
        await database.aclose()


@pytest.mark.parametrize("before", [True, False])
async def test_a_connection_lost_during_commit_leaves_doubt(dsn: str, before: bool) -> None:
    async def work(connection: Connection) -> str:
        await connection.execute("UPDATE marks SET marked = true")
        return "judged"

    async with open_proxy(dsn) as proxy, open_bridge():
        database = impatient(proxy.dsn)
        create = "CREATE TABLE marks AS SELECT false AS marked"
        await database.run(lambda connection: connection.execute(create))
        proxy.cut_at(b"COMMIT", before=before)
        with pytest.raises(CommitInDoubt) as doubt:
            await database.run(work)
        assert doubt.value.result == "judged"
        assert (
            await database.run(lambda connection: connection.fetchval("SELECT marked FROM marks"))
            is not before
        )
        await database.aclose()


async def test_a_read_whose_commit_was_lost_is_simply_away(dsn: str) -> None:
    async with open_proxy(dsn) as proxy, open_bridge():
        database = impatient(proxy.dsn)
        proxy.cut_at(b"COMMIT", before=True)
        with pytest.raises(DatabaseAway) as away:
            await database.run(select_one, readonly=True)
        assert not isinstance(away.value, CommitInDoubt)
        await database.aclose()
