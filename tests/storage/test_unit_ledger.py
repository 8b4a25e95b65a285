"""The rows that a unit writes of refused updates and items."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from domain.model import CanonicalUpdate, Dropped, InvalidItem, Outcome, Reading, Reason, Result
from domain.refusals import RefusalCounts
from storage.unit.ledger import MAX_TEXT, Ledger, storable
from tests.storage.fixtures import PROVIDER, WORKSPACE, submission
from tests.storage.statement_columns import columns_taken, unnested

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
NAMED_BY_PROVIDER = CanonicalUpdate(
    WORKSPACE, PROVIDER, None, "x-bus-1", None, (Reading("soc_percent", 50.0, NOON),), NOON, "t-1"
)


def open_ledger() -> Ledger:
    return Ledger(RefusalCounts(), NOON)


def rows_of(ledger: Ledger) -> list[Any]:
    """Return the rows that the ledger writes, in the order of the ids."""
    try:
        statement = next(ledger.write())
    except StopIteration:
        return []
    assert statement.name == "append_rejections"
    names = columns_taken("append_rejections")
    rows = (dict(zip(names, row, strict=True)) for row in unnested(statement.args))
    return sorted((SimpleNamespace(**row) for row in rows), key=repr)


def test_a_refusal_names_device_and_external_id() -> None:
    ledger = open_ledger()
    refused = Result(Outcome.REJECTED, device_id="bus-1", reason=Reason.INVALID)
    ledger.add(submission(NAMED_BY_PROVIDER), NAMED_BY_PROVIDER, refused)
    (row,) = rows_of(ledger)
    assert (row.device_id, row.external_id) == ("bus-1", "x-bus-1")


def test_refusals_of_two_external_ids_are_two_rows() -> None:
    """One device may have had both names, before and after it was configured anew."""
    ledger = open_ledger()
    refused = Result(Outcome.REJECTED, device_id="bus-1", reason=Reason.INVALID)
    for external_id in ("x-old", "x-new", "x-old"):
        update = NAMED_BY_PROVIDER._replace(external_id=external_id)
        ledger.add(submission(update), update, refused)
    assert [(row.device_id, row.external_id, row.occurrences) for row in rows_of(ledger)] == [
        ("bus-1", "x-new", 1),
        ("bus-1", "x-old", 2),
    ]


def test_a_position_that_was_not_read_has_a_row_for_each_half() -> None:
    item = InvalidItem(WORKSPACE, PROVIDER, None, Reason.MALFORMED, "?", b"", signal="position")
    ledger = open_ledger()
    ledger.add_invalid(submission(invalid=(item,)), item, None)
    assert [row.signal for row in rows_of(ledger)] == ["latitude_deg", "longitude_deg"]


def test_an_item_without_a_sample_has_none_in_its_row() -> None:
    item = InvalidItem(WORKSPACE, PROVIDER, None, Reason.INVALID, "no value", b"")
    ledger = open_ledger()
    ledger.add_invalid(submission(invalid=(item,)), item, None)
    assert rows_of(ledger)[0].sample is None


INVALID = Dropped("soc_percent", Reason.INVALID, "102.0 is above 100")
FUTURE = Dropped("speed_kmh", Reason.FUTURE_TIMESTAMP, "observed in the future")
INVENTED = Dropped("flux", Reason.INVALID, "unknown signal")


@pytest.mark.parametrize(
    ("result", "rows"),
    [
        (Result(Outcome.ACCEPTED, dropped=(INVALID,)), [("rejected", "invalid", "soc_percent")]),
        (Result(Outcome.DUPLICATE, dropped=(INVALID,)), [("rejected", "invalid", "soc_percent")]),
        (
            Result(Outcome.REJECTED, Reason.FUTURE_TIMESTAMP, dropped=(INVALID, FUTURE)),
            [("rejected", "future_timestamp", "speed_kmh"), ("rejected", "invalid", "soc_percent")],
        ),
        (
            Result(Outcome.STALE, dropped=(INVALID,)),
            [("rejected", "invalid", "soc_percent"), ("stale", None, None)],
        ),
        (
            Result(Outcome.CONFLICT, conflicts=("position",)),
            [("conflict", None, "latitude_deg"), ("conflict", None, "longitude_deg")],
        ),
        (Result(Outcome.ACCEPTED, dropped=(INVENTED,)), [("rejected", "invalid", "unknown")]),
        (Result(Outcome.REJECTED, Reason.INVALID), [("rejected", "invalid", None)]),
        (Result(Outcome.ACCEPTED), []),
        (Result(Outcome.DUPLICATE), []),
    ],
)
def test_each_refused_reading_is_counted_by_reason_and_signal(
    result: Result, rows: list[tuple[str, str | None, str | None]]
) -> None:
    ledger = open_ledger()
    ledger.add(submission(NAMED_BY_PROVIDER), NAMED_BY_PROVIDER, result)
    found = rows_of(ledger)
    assert [(row.outcome, row.reason, row.signal) for row in found] == rows
    assert all(row.occurrences == 1 and row.sample for row in found)


def test_invented_signals_share_a_row_that_names_the_first() -> None:
    ledger = open_ledger()
    dropped = (INVENTED, INVENTED._replace(signal="flux_2"))
    result = Result(Outcome.ACCEPTED, dropped=dropped)
    ledger.add(submission(NAMED_BY_PROVIDER), NAMED_BY_PROVIDER, result)
    (row,) = rows_of(ledger)
    assert (row.occurrences, row.detail) == (2, "flux: unknown signal")


def test_a_known_key_needs_no_second_sample() -> None:
    counts = RefusalCounts()
    for expected in ([1], []):
        ledger = Ledger(counts, NOON)
        result = Result(Outcome.ACCEPTED, dropped=(INVALID,))
        ledger.add(submission(NAMED_BY_PROVIDER), NAMED_BY_PROVIDER, result)
        plan = counts.plan(ledger.counted, NOON)
        assert [count.occurrences for count in plan.rows.values()] == expected
        assert all(count.sample is None for count in plan.kept.values())
        counts.stage(plan, plan.rows.keys())
        counts.confirm()


def test_a_long_id_has_a_digest_of_sixteen_bytes() -> None:
    ledger = open_ledger()
    update = NAMED_BY_PROVIDER._replace(external_id="\U0001f68c" * 5000)
    ledger.add(submission(update), update, Result(Outcome.REJECTED, Reason.UNKNOWN_DEVICE))
    assert len(rows_of(ledger)[0].digest) == 16


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        (None, None),
        ("Überlandbus 7", "Überlandbus 7"),
        ("ü" * MAX_TEXT, "ü" * MAX_TEXT),
        ("x" * (MAX_TEXT + 1), "x" * MAX_TEXT),
        ("ü" * (MAX_TEXT + 1), "\\xfc" * MAX_TEXT),
        ("bus\x00", "bus\\x00"),
        ("bus\ud800", "bus\\ud800"),
        ("ü\u200b", "\\xfc\\u200b"),
        ("\x00" * (MAX_TEXT + 1), "\\x00" * MAX_TEXT),
    ],
)
def test_long_or_unprintable_text_is_cut_and_escaped(text: str | None, stored: str | None) -> None:
    assert storable(text) == stored
