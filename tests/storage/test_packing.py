"""Packed arrays reach PostgreSQL as the arrays that they were."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ports.ingest import UnitPoisoned
from storage.unit.packing import pack, pack_documents, pack_literal, pack_texts
from storage.unit.steps import Statement

if TYPE_CHECKING:
    from collections.abc import Callable

    from storage.gateway import Connection, Database

AT = datetime(2026, 11, 28, 10, 4, 0, 123457, tzinfo=UTC)
TEXTS = ["bus-1", "a,b", '"{}\\', "\u00e9\u2028\U0001f68c", "\x1f\n\t\x7f", "", " ", None, "NULL"]
DOCUMENTS = ["{}", '{"charging_status":["a\\u001fb",1,0,null,0]}', '{"soc_percent":[1.5,2,3]}']


@pytest.mark.parametrize(
    ("statement", "packed", "column"),
    [
        ("SELECT * FROM json_array_elements_text($1::json)", pack_texts, TEXTS),
        ("SELECT * FROM json_array_elements_text($1::json)", pack_texts, []),
        ("SELECT * FROM unnest($1::text::bigint[])", pack_literal, [0, -(2**63), 2**63 - 1, None]),
        ("SELECT * FROM unnest($1::text::bigint[])", pack_literal, []),
        ("SELECT * FROM unnest($1::text::boolean[])", pack_literal, [True, False]),
        ("SELECT * FROM unnest($1::text::float8[])", pack_literal, [0.1, 1e300, None]),
        (
            "SELECT * FROM unnest($1::text::timestamptz[])",
            pack_literal,
            [AT, None, AT.replace(microsecond=0), AT.replace(year=2000), AT + timedelta(days=9e5)],
        ),
        ("SELECT * FROM string_to_table($1::text, E'\\x1f')", pack_documents, DOCUMENTS),
    ],
)
async def test_a_packed_column_comes_out_as_it_went_in(
    database: Database, statement: str, packed: Callable[[Any], str], column: list[Any]
) -> None:
    async def work(connection: Connection) -> list[Any]:
        return [row[0] for row in await connection.fetch(statement, packed(column))]

    assert await database.run(work) == column


def test_a_statement_is_packed_as_its_sql_says() -> None:
    values: dict[str, Any] = {"old_version": [1, 2], "version": [1, 2]}
    values |= {"workspace_id": ["w"], "device_id": ["a", "b"], "document": ["{}", "[]"]}
    packed = pack(Statement.bound("write_snapshots", **values))
    assert list(packed) == ['["w"]', '["a","b"]', "{1,2}", "{1,2}", "{}\x1f[]"]


def test_a_statement_without_packed_columns_stays_as_it_is() -> None:
    statement = Statement("load_last_unit", ("shard-1", 7))
    assert pack(statement) is statement.args


def test_a_text_that_no_query_can_carry_is_poison() -> None:
    with pytest.raises(UnitPoisoned) as poisoned:
        pack(Statement("lock_devices", (["w"], ["a\ud800"], [])))
    assert poisoned.value.sqlstate == "22000"
