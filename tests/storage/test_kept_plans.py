"""The ingest connection keeps plans that were made for empty tables: they suit any fleet."""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import pytest

from storage.gateway import open_bridge
from storage.pools import Pools
from storage.queries import parse_blocks, read_sources, sql

if TYPE_CHECKING:
    from storage.gateway import Connection, Database

# Statements of the ingest connection that only insert have nothing to look for.
LOOKING: Final = sorted(
    name
    for source, text in read_sources()
    if source in ("ingest.sql", "locks.sql")
    for name, statement in parse_blocks([(source, text)]).items()
    if re.search(r"\b(JOIN|UPDATE)\b", statement)
)


def pools_on(dsn: str) -> Pools:
    return Pools(dsn, collecting=1, api=1, application_name="lastheard/plans")


async def plan_of(database: Database, name: str) -> str:
    """Return the plan of a statement as this connection executes it, with whatever parameters."""
    count = len(set(re.findall(r"\$\d+", sql(name))))

    async def work(connection: Connection) -> str:
        await connection.execute(f"PREPARE looked_at AS {sql(name)}")
        nulls = ", ".join(["NULL"] * count)
        lines = await connection.fetch(f"EXPLAIN (COSTS off) EXECUTE looked_at ({nulls})")
        await connection.execute("DEALLOCATE looked_at")
        return "\n".join(line[0] for line in lines)

    return await database.run(work)


async def analyze(database: Database) -> None:
    """Let the planner know that the tables are empty: it then prefers to read them whole."""
    await database.run(
        lambda connection: connection.execute(
            "ANALYZE device_state, devices, snapshots, connection_state, poll_cycles, rejections, "
            "sessions"
        )
    )


@pytest.mark.parametrize("name", LOOKING)
async def test_a_plan_for_empty_tables_looks_rows_up_by_key(dsn: str, name: str) -> None:
    async with open_bridge(), aclosing(pools_on(dsn)) as pools:
        await analyze(pools.collecting)
        plan = await plan_of(pools.ingest, name)
    assert "Index" in plan
    assert not re.search(r"Seq Scan|Hash Join|Merge Join", plan), plan


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
