"""`lastheard config check --connect` tries the database and says what to do; `--version`."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
import trio

from storage.gateway import open_bridge
from storage.pooler_check import refuse_pooling_by_transaction
from tests.conftest import execute
from tests.processes.child import run_lastheard
from tests.storage.poolers import PGBOUNCER, dsn_at, listening, pgbouncer, refusing, welcoming
from tests.storage.test_server_versions import IGNORING, UNSUPPORTED, bounded_dsn

if TYPE_CHECKING:
    from pathlib import Path

    from tests.processes.child import Child

__all__ = ["bounded_dsn"]
pytestmark = pytest.mark.processes
needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="no pgbouncer here")


async def check(dsn: str = "", **environment: str) -> Child:
    environment = {**({"LASTHEARD_DSN": dsn} if dsn else {}), **environment}
    child = await run_lastheard("config", "check", "--connect", environment=environment)
    assert "Traceback" not in child.errors
    return child


async def test_a_current_database_is_reported_with_its_version(dsn: str) -> None:
    child = await check(dsn)
    assert child.exit_code == 0, child.tail()
    found = child.out.splitlines()[-3:]
    assert found[0].startswith("database: PostgreSQL ")
    assert found[1].startswith("pooler: none")
    assert found[2].startswith("schema: 0")


async def test_a_schema_that_is_not_current_is_1_with_the_remedy(empty_dsn: str, dsn: str) -> None:
    empty = await check(empty_dsn)
    assert (empty.exit_code, "has no Lastheard schema" in empty.out) == (1, True)
    assert "run `lastheard migrate`" in empty.out
    assert "newer release" not in empty.out
    set_back = "UPDATE alembic_version SET version_num = '0001'"
    await trio.to_thread.run_sync(execute, dsn, set_back)
    old = await check(dsn)
    assert (old.exit_code, "is at schema version 0001" in old.out) == (1, True)


async def test_a_database_that_is_away_or_refuses_is_69() -> None:
    away = await check("postgresql://postgres@127.0.0.1:1/lastheard")
    assert away.exit_code == 69
    assert "Check that it runs, and that LASTHEARD_DSN leads to it" in away.errors
    async with listening(welcoming("14.12")) as port:
        old = await check(dsn_at(port))
    assert (old.exit_code, "PostgreSQL 14.12 is too old" in old.errors) == (69, True)
    async with listening(refusing("08P01", UNSUPPORTED)) as port:
        pooled = await check(dsn_at(port))
    assert (pooled.exit_code, "Connect to PostgreSQL directly" in pooled.errors) == (69, True)


async def test_without_a_database_it_starts_none(tmp_path: Path) -> None:
    none = await check()
    assert (none.exit_code, "no database is configured" in none.errors) == (2, True)
    folder = tmp_path / "data"
    embedded = await check(LASTHEARD_EMBEDDED="true", LASTHEARD_DATA_DIR=str(folder))
    assert (embedded.exit_code, "`lastheard serve --embedded` starts it" in embedded.out) == (
        1,
        True,
    )
    assert not folder.exists()


@needs_pgbouncer
async def test_pooling_by_the_transaction_is_noticed(bounded_dsn: str) -> None:
    by_transaction = {"ignore_startup_parameters": IGNORING, "pool_mode": "transaction"}
    async with pgbouncer(bounded_dsn, **by_transaction) as pooled:
        child = await check(pooled)
    assert child.exit_code == 69, child.tail()
    assert "hands connections out by the transaction" in child.errors


async def test_a_direct_connection_is_no_pooler(dsn: str) -> None:
    async with open_bridge():
        await refuse_pooling_by_transaction(dsn)


async def test_what_is_not_set_is_printed_as_unset() -> None:
    child = await run_lastheard("config", "check", environment={"LASTHEARD_SHARD_ID": "first"})
    lines = child.out.splitlines()
    assert {"LASTHEARD_DSN = (unset)", "LASTHEARD_KEY = (unset)"} <= set(lines)
    assert "LASTHEARD_OUTBOUND_ALLOW = (unset)" in lines
    assert "LASTHEARD_SHARD_ID = first" in lines


async def test_the_version_is_printed() -> None:
    child = await run_lastheard("--version")
    assert (child.exit_code, child.out) == (0, f"lastheard {version('lastheard')}\n")
