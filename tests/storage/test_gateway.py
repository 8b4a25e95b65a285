"""The gateway on a real server: what becomes of connections, errors and cancellations."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from ports.ingest import UnitPoisoned
from storage.bridge import BridgeStatistics
from storage.faults import DatabaseAway, DatabaseRefused
from storage.gateway import Database, open_bridge
from storage.timeouts import Timeouts
from storage.transactions import WRITE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from storage.gateway import Connection

CREATE = "CREATE TABLE notes (note_id integer PRIMARY KEY, text text)"


@pytest.fixture
async def single(dsn: str) -> AsyncIterator[Database]:
    """A Database with one connection, so that a lost one is noticed at once, and a table."""
    async with open_bridge():
        database = Database(dsn, pool_size=1, timeouts=Timeouts(cleanup=0.5))
        await database.run(lambda connection: connection.execute(CREATE))
        yield database
        await database.aclose()


async def count_notes(database: Database) -> int:
    """Count the notes. It also shows that the next call is served soon."""
    with trio.fail_after(1):
        count: int = await database.run(
            lambda connection: connection.fetchval("SELECT count(*) FROM notes")
        )
    return count


async def write_note(connection: Connection, note_id: int = 1) -> None:
    await connection.execute("INSERT INTO notes VALUES ($1, 'x')", note_id)


# --- Transactions


async def test_work_that_raises_is_undone_and_its_exception_leaves(
    single: Database,
) -> None:
    async def work(connection: Connection) -> None:
        await write_note(connection)
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        await single.run(work)
    assert await count_notes(single) == 0
    assert single.statistics().opened == 1  # the session was clean, so the connection was kept


async def test_a_read_only_run_sees_one_snapshot(dsn: str, single: Database) -> None:
    other = Database(dsn, pool_size=1)

    async def work(connection: Connection) -> tuple[int, int]:
        before = await connection.fetchval("SELECT count(*) FROM notes")
        # A second connection of the same loop; nothing else may be awaited in production.
        await other._transactions.perform(write_note, WRITE, fresh=False)
        return before, await connection.fetchval("SELECT count(*) FROM notes")

    assert await single.run(work, readonly=True) == (0, 0)
    assert await count_notes(single) == 1
    await other.aclose()


async def test_a_deadlock_runs_the_whole_work_again(dsn: str, single: Database) -> None:
    await single.run(
        lambda connection: connection.execute("INSERT INTO notes SELECT generate_series(1, 2)")
    )
    both = Database(dsn, pool_size=2)
    first_locks = asyncio.Event(), asyncio.Event()
    both_rows = asyncio.Event()
    attempts: list[int] = []

    async def work(connection: Connection, mine: int) -> None:
        attempts.append(mine)
        if attempts.count(mine) > 1:
            # The server may give the row to this attempt before the survivor has woken to take it.
            await both_rows.wait()
        await connection.execute("UPDATE notes SET text = 'a' WHERE note_id = $1", mine + 1)
        first_locks[mine].set()
        await first_locks[1 - mine].wait()
        await connection.execute("UPDATE notes SET text = 'b' WHERE note_id = $1", 2 - mine)
        both_rows.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(both.run, lambda connection: work(connection, 0))
        nursery.start_soon(both.run, lambda connection: work(connection, 1))
    assert len(attempts) == 3
    assert both.statistics().reruns == 1
    await both.aclose()


async def test_a_plan_that_a_migration_made_stale_is_renewed_unnoticed(
    dsn: str, single: Database
) -> None:
    async def read(connection: Connection) -> int:
        return len((await connection.fetch("SELECT * FROM notes"))[0])

    await single.run(write_note)
    assert await single.run(read) == 2
    await single.run(
        lambda connection: connection.execute("ALTER TABLE notes ADD COLUMN more integer")
    )
    assert await single.run(read) == 3


# --- Errors


@pytest.mark.parametrize(
    ("statement", "value", "sqlstate"),
    [
        pytest.param("SELECT $1::text", "\x00", "22021", id="NUL in text"),
        pytest.param("SELECT $1::jsonb", '"\\u0000"', "22P05", id="NUL in JSON"),
        pytest.param("SELECT $1::text", "\ud800", "22000", id="lone surrogate"),
        pytest.param("SELECT $1::bigint", 2**70, "22000", id="number beyond 64 bits"),
        pytest.param("SELECT $1::jsonb", "{", "22P02", id="broken JSON"),
        pytest.param("SELECT ($1::float8)::int4", 1e300, "22003", id="number out of range"),
    ],
)
async def test_errors_that_the_data_causes_are_poison(
    single: Database, statement: str, value: Any, sqlstate: str
) -> None:
    with pytest.raises(UnitPoisoned) as poisoned:
        await single.run(lambda connection: connection.execute(statement, value))
    assert poisoned.value.sqlstate == sqlstate
    assert await count_notes(single) == 0
    assert single.statistics().opened == 1


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("SELEC 1", id="syntax"),
        pytest.param(
            "INSERT INTO events SELECT 'w', 'd', 1, now(), now(), '{}', 'p', 't', 's', 1",
            id="no partition",
        ),
        pytest.param(
            "INSERT INTO notes VALUES (1), (1)", id="a constraint that is not on the list"
        ),
    ],
)
async def test_every_other_refusal_is_an_environment_fault(
    single: Database, statement: str
) -> None:
    with pytest.raises(DatabaseRefused) as refused:
        await single.run(lambda connection: connection.execute(statement))
    assert not refused.value.permanent
    assert await count_notes(single) == 0


async def test_a_statement_over_its_time_is_stopped_by_the_server(dsn: str) -> None:
    async with open_bridge():
        database = Database(dsn, pool_size=1, timeouts=Timeouts(statement=0.05))
        with pytest.raises(DatabaseAway, match="57014"):
            await database.run(lambda connection: connection.execute("SELECT pg_sleep(5)"))
        assert database.statistics().opened == 1
        await database.aclose()


async def test_a_caller_waits_for_a_connection_only_so_long(dsn: str) -> None:
    async with open_bridge():
        database = Database(dsn, pool_size=1, timeouts=Timeouts(acquire=0.05))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                database.run, lambda connection: connection.execute("SELECT pg_sleep(5)")
            )
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(DatabaseAway, match="became free"):
                await database.run(lambda connection: connection.execute("SELECT 1"))
            nursery.cancel_scope.cancel()
        await database.aclose()


async def test_a_killed_backend_costs_one_call_and_idle_connections(dsn: str) -> None:
    async with open_bridge():
        database = Database(dsn, pool_size=2)

        async def work(connection: Connection) -> None:
            # Another idle connection first, so that there is something to drop.
            await database._transactions.perform(
                lambda other: other.execute("SELECT 1"), None, fresh=False
            )
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        with pytest.raises(DatabaseAway, match="administrator command"):
            await database.run(work)
        assert database.statistics().idle == 0
        assert await database.run(lambda connection: connection.fetchval("SELECT 1")) == 1
        await database.aclose()


@pytest.mark.parametrize("dsn", ["postgresql://127.0.0.1:notaport/x", "mysql://nowhere"])
async def test_a_dsn_that_makes_no_sense_is_refused_for_good(dsn: str) -> None:
    async with open_bridge():
        database = Database(dsn)
        with pytest.raises(DatabaseRefused) as refused:
            await database.run(lambda connection: connection.execute("SELECT 1"))
        assert refused.value.permanent
        await database.aclose()


async def test_nobody_listening_is_away(dsn: str) -> None:
    async with open_bridge():
        database = Database("postgresql://postgres@/x?host=/nonexistent")
        with pytest.raises(DatabaseAway):
            await database.run(lambda connection: connection.execute("SELECT 1"))
        await database.aclose()


async def test_several_hosts_and_session_attributes_reach_the_driver(dsn: str) -> None:
    socket = dsn.split("host=")[1].split("&")[0]
    several = (
        dsn.replace(f"host={socket}", f"host=/nonexistent,{socket}")
        + "&target_session_attrs=read-write"
    )
    async with open_bridge():
        database = Database(several)
        assert await database.run(lambda connection: connection.fetchval("SELECT 1")) == 1
        await database.aclose()


async def test_an_error_in_a_callback_is_counted_and_the_loop_goes_on(dsn: str) -> None:
    def fail() -> None:
        raise LookupError("in a callback")

    async def work(connection: Connection) -> int:
        asyncio.get_running_loop().call_soon(fail)
        result: int = await connection.fetchval("SELECT 1")
        return result

    async with open_bridge() as bridge:
        database = Database(dsn)
        assert await database.run(work) == 1
        assert await database.run(work) == 1
        assert bridge.statistics() == BridgeStatistics(
            loop_errors=2, last_loop_error="LookupError('in a callback')"
        )
        await database.aclose()


async def test_every_session_carries_its_bounds(single: Database) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")

    async def work(connection: Connection) -> list[str]:
        return [
            await connection.fetchval(f"SHOW {name}")
            for name in (*names, "timezone", "application_name", "jit")
        ]

    assert await single.run(work) == ["5s", "2s", "5s", "UTC", "lastheard", "off"]


# --- Cancellation (T1)


@pytest.mark.parametrize("step", range(5))
async def test_a_call_cancelled_at_any_step_gives_its_connection_back(
    single: Database, step: int
) -> None:
    with trio.CancelScope() as scope:

        async def work(connection: Connection) -> None:
            for number in range(5):
                if number == step:
                    scope.cancel()  # delivered while the next statement is under way
                await connection.execute("INSERT INTO notes VALUES ($1)", number)
                await connection.fetchval("SELECT pg_sleep(0.01)")

        await single.run(work)
    assert scope.cancelled_caught
    assert await count_notes(single) == 0
    assert single.statistics().in_use == 0


async def test_a_cancelled_query_is_stopped_on_the_server(single: Database) -> None:
    with trio.move_on_after(0.05) as scope:
        await single.run(lambda connection: connection.execute("SELECT pg_sleep(60)"))
    assert scope.cancelled_caught
    active = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
    )
    assert await single.run(lambda connection: connection.fetchval(active)) == 0
    assert single.statistics().opened == 1


@pytest.mark.parametrize("fraction", range(40))
async def test_a_call_cancelled_at_any_moment_returns_its_connection(
    dsn: str, fraction: int
) -> None:
    """From the first bytes of connecting to the answer of COMMIT, every 0.25 ms."""
    async with open_bridge():
        database = Database(dsn, pool_size=1, timeouts=Timeouts(cleanup=0.5))
        with trio.move_on_after(fraction * 0.000_25):
            await database.run(lambda connection: connection.execute("SELECT pg_sleep(0.001)"))
        with trio.fail_after(1):
            assert await database.run(lambda connection: connection.fetchval("SELECT 1")) == 1
        assert database.statistics().in_use == 0
        await database.aclose()


async def test_a_call_cancelled_during_commit_learns_how_it_ended(single: Database) -> None:
    with trio.CancelScope() as scope:

        async def work(connection: Connection) -> str:
            await write_note(connection)
            asyncio.get_running_loop().call_soon(scope.cancel)  # runs when COMMIT has been sent
            return "answer"

        assert await single.run(work) == "answer"
    assert scope.cancel_called
    assert await count_notes(single) == 1
