"""Plans that are kept were made for empty tables, perhaps: they suit any fleet."""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import pytest

from storage import connection_pool
from storage.faults import DatabaseAway
from storage.gateway import Database, open_bridge
from storage.health import KEPT_PLANS
from storage.pools import Pools
from storage.queries import parse_blocks, read_sources, sql

if TYPE_CHECKING:
    from storage.gateway import Connection

# Statements of the ingest connection that only insert have nothing to look for.
LOOKING: Final = sorted(
    name
    for source, text in read_sources()
    if source in ("ingest.sql", "locks.sql")
    for name, statement in parse_blocks([(source, text)]).items()
    if re.search(r"\b(JOIN|UPDATE)\b", statement)
)
END_OF_SESSION: Final = "SELECT pg_terminate_backend(pg_backend_pid())"
# Scans of tables that grow. Of shards there are few, and a worklist of all workspaces asks for all.
SCAN_OF_A_FLEET: Final = (
    r"(?!CTE|Function|Subquery).*Scan.* on (?!heartbeats b|sessions v|workspaces workspaces_1)"
)


def pools_on(dsn: str) -> Pools:
    return Pools(dsn, collecting=1, api=1, application_name="lastheard/plans")


async def plan_of(database: Database, name: str, *, keeps_plans: bool = False) -> str:
    """Return the plan of a statement as this connection executes it, with whatever parameters."""
    count = len(set(re.findall(r"\$\d+", sql(name))))

    async def work(connection: Connection) -> str:
        await connection.execute(f"PREPARE looked_at AS {sql(name)}")
        nulls = ", ".join(["NULL"] * count)
        lines = await connection.fetch(f"EXPLAIN (COSTS off) EXECUTE looked_at ({nulls})")
        await connection.execute("DEALLOCATE looked_at")
        return "\n".join(line[0] for line in lines)

    return await database.run(work, keeps_plans=keeps_plans)


async def analyze(database: Database) -> None:
    """Let the planner know that the tables are empty: it then prefers to read them whole."""
    await database.run(
        lambda connection: connection.execute(
            "ANALYZE device_state, devices, snapshots, connection_state, poll_cycles, rejections, "
            "sessions, heartbeats, leases, workspaces"
        )
    )


@pytest.mark.parametrize("name", LOOKING)
async def test_a_plan_for_empty_tables_looks_rows_up_by_key(dsn: str, name: str) -> None:
    async with open_bridge(), aclosing(pools_on(dsn)) as pools:
        await analyze(pools.collecting)
        plan = await plan_of(pools.ingest, name)
    assert "Index" in plan
    assert not re.search(r"Seq Scan|Hash Join|Merge Join", plan), plan


@pytest.mark.parametrize("name", sorted(KEPT_PLANS))
async def test_a_kept_plan_of_a_page_reads_no_more_than_it_shows(dsn: str, name: str) -> None:
    """Of an index it reads the rows of a key; of a longer list the first, without sorting it."""
    async with open_bridge(), aclosing(pools_on(dsn)) as pools:
        await analyze(pools.collecting)
        plan = await plan_of(pools.api, name, keeps_plans=True)
    lines = [line.strip(" ->") for line in plan.splitlines()]
    below = dict(enumerate([*lines[1:], ""]))
    scans = [place for place, line in enumerate(lines) if re.match(SCAN_OF_A_FLEET, line)]
    assert len(scans) >= 9, plan
    assert all(below[place].startswith("Index Cond") for place in scans), plan
    ends = [below[place] for place, line in enumerate(lines) if line == "Limit"]
    assert all(line.startswith(("Index Scan", "Result")) for line in ends), plan
    assert "using rejections_device_index" in plan, plan


async def test_only_the_ingest_connection_keeps_plans(dsn: str) -> None:
    async with open_bridge(), aclosing(pools_on(dsn)) as pools:
        found = {
            name: await pool.run(
                lambda connection: connection.fetchval("SHOW plan_cache_mode"), readonly=True
            )
            for name, pool in (
                ("session", pools.session),
                ("ingest", pools.ingest),
                ("collecting", pools.collecting),
                ("api", pools.api),
            )
        }
    assert found.pop("ingest") == "force_generic_plan"
    assert set(found.values()) == {"force_custom_plan"}


async def modes_of(database: Database, *wanted: bool) -> list[str]:
    """Return how each of these calls found its connection, one call after the other."""

    async def look(connection: Connection) -> str:
        found: str = await connection.fetchval(
            "SELECT current_setting('plan_cache_mode') || current_setting('enable_seqscan')"
        )
        return f"{found} {connection.get_server_pid()}"

    return [
        await database.run(look, in_transaction=False, keeps_plans=keeps_plans)
        for keeps_plans in wanted
    ]


async def test_each_kind_of_call_finds_its_own_connection_again(dsn: str) -> None:
    async with open_bridge(), aclosing(Database(dsn, pool_size=2)) as database:
        anew, kept, *more = await modes_of(database, False, True, True, False, True)
        assert (anew.split()[0], kept.split()[0]) == (
            "force_custom_planon",
            "force_generic_planoff",
        )
        assert more == [kept, anew, kept]
        assert database.statistics().opened == 2


async def test_the_only_connection_changes_its_kind_and_back(dsn: str) -> None:
    async with open_bridge(), aclosing(Database(dsn, pool_size=1)) as database:
        anew, kept, *more = await modes_of(database, False, True, True, False, True)
        assert anew.startswith("force_custom_planon ")
        assert kept == anew.replace("custom", "generic").replace("planon", "planoff")
        assert more == [kept, anew, kept]
        assert database.statistics().opened == 1


async def test_a_connection_that_is_lost_as_it_changes_is_given_up(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_bridge(), aclosing(Database(dsn, pool_size=1)) as database:
        await modes_of(database, False)
        with monkeypatch.context() as patch:
            patch.setattr(connection_pool, "KEEP_PLANS", END_OF_SESSION)
            with pytest.raises(DatabaseAway):
                await modes_of(database, True)
        assert database.statistics().idle == 0
        (found,) = await modes_of(database, False)
        assert found.startswith("force_custom_planon ")
        statistics = database.statistics()
        assert (statistics.opened, statistics.terminated, statistics.expired) == (2, 1, 1)
