"""The lists of a workspace can read its own rows in their order: an index has both."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from ports.changes import AuditQuery
from storage.changes import list_call
from storage.queries import sql

if TYPE_CHECKING:
    from storage.gateway import Connection, Database

pytestmark = pytest.mark.postgres

QUIET = AuditQuery(within=frozenset({"quiet"}), most=101)
LISTS: dict[str, tuple[tuple[Any, ...], str]] = {
    "quarantine": ((sql("list_quarantine"), "quiet", None, 101), "quarantine_workspace_index"),
    "audit": (list_call(QUIET), "changes_workspace_index"),
    "by somebody": (list_call(QUIET._replace(who="x")), "changes_workspace_index"),
    "an import": (list_call(QUIET._replace(part_of=7)), "changes_part_index"),
}


@pytest.mark.parametrize(("call", "index"), LISTS.values(), ids=LISTS)
async def test_an_index_has_the_rows_of_a_workspace_in_order(
    database: Database, call: tuple[Any, ...], index: str
) -> None:
    statement, *arguments = call

    async def work(connection: Connection) -> str:
        # The tables are empty: otherwise to read them whole would be cheapest.
        await connection.execute(
            "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = off; "
            "SET LOCAL enable_bitmapscan = off"
        )
        lines = await connection.fetch(f"EXPLAIN (COSTS off) {statement}", *arguments)
        return "\n".join(line[0] for line in lines)

    plan = await database.run(work)
    assert re.search(rf"Index Scan.* using {index}", plan), plan
    assert "Sort" not in plan, plan
