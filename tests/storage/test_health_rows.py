"""Facts are made from a row by position: the columns have the names and order of the fields."""

from __future__ import annotations

from domain.health_facts import HealthFacts
from storage.health_rows import DEVICE_FACTS


def test_the_picked_columns_are_consecutive_fields_of_the_facts() -> None:
    fields = HealthFacts._fields
    first = fields.index("document") + 1
    assert fields[first : first + len(DEVICE_FACTS)] == DEVICE_FACTS
    assert fields[first + len(DEVICE_FACTS) :] == (
        "connection_changed_at",
        "refused_signals",
        "is_of_legacy",
    )
