"""The rows that a unit writes of refused updates and items."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.model import CanonicalUpdate, InvalidItem, Outcome, Reading, Reason, Result
from storage.unit_ledger import MAX_TEXT, Ledger, storable
from tests.storage.fixtures import PROVIDER, WORKSPACE, submission

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
NAMED_BY_PROVIDER = CanonicalUpdate(
    WORKSPACE, PROVIDER, None, "x-bus-1", None, (Reading("soc_percent", 50.0, NOON),), NOON, "t-1"
)


def test_a_refusal_names_device_and_external_id() -> None:
    ledger = Ledger()
    refused = Result(Outcome.REJECTED, device_id="bus-1", reason=Reason.INVALID)
    ledger.add(submission(NAMED_BY_PROVIDER), NAMED_BY_PROVIDER, refused)
    (row,) = ledger.rows()
    assert row[3:5] == ("bus-1", "x-bus-1")


def test_refusals_of_two_external_ids_are_two_rows() -> None:
    """One device may have had both names, before and after it was configured anew."""
    ledger = Ledger()
    refused = Result(Outcome.REJECTED, device_id="bus-1", reason=Reason.INVALID)
    for external_id in ("x-old", "x-new", "x-old"):
        update = NAMED_BY_PROVIDER._replace(external_id=external_id)
        ledger.add(submission(update), update, refused)
    assert [(row[3], row[4], row[8]) for row in ledger.rows()] == [
        ("bus-1", "x-old", 2),
        ("bus-1", "x-new", 1),
    ]


def test_an_item_without_a_sample_has_none_in_its_row() -> None:
    item = InvalidItem(WORKSPACE, PROVIDER, None, Reason.INVALID, "no value", b"")
    ledger = Ledger()
    ledger.add_invalid(submission(invalid=(item,)), item, None)
    assert ledger.rows()[0][-1] is None


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
