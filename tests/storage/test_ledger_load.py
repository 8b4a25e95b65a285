"""The ledger under a fleet of which every vehicle has one signal that is always refused."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from domain.model import CanonicalUpdate, Dropped, Outcome, Reading, Reason, Result
from domain.refusals import MAX_DUE, RefusalCounts, RefusalKey
from storage.unit.ledger import Ledger
from tests.storage.fixtures import PROVIDER, WORKSPACE, submission

# A twentieth of 10,000 buses, with units of a twentieth.
BUSES, SECONDS, UNIT = 500, 125, 50
BEGIN = datetime(2026, 5, 1, 12, tzinfo=UTC)
REFUSED = Dropped("soc_percent", Reason.INVALID, "102.5 is above 100")


class Written(NamedTuple):
    """What the fleet cost in rows: new ones, and rows written by second and by unit."""

    new: int
    by_second: Counter[int]
    largest_unit: int
    occurrences: int


@pytest.fixture(scope="module")
def written() -> Written:
    """One update a second of each bus, for a little more than two minutes."""
    counts, by_second = RefusalCounts(), Counter[int]()
    keys: set[RefusalKey] = set()
    largest = occurrences = 0
    fleet = [_refuse(number) for number in range(BUSES)]
    sent = submission()
    for second in range(SECONDS):
        for place in range(0, BUSES, UNIT):
            ledger = Ledger(counts, BEGIN + timedelta(seconds=second + place / BUSES))
            for update, result in fleet[place : place + UNIT]:
                ledger.add(sent, update, result)
            plan = counts.plan(ledger.counted, ledger.now)
            keys |= plan.rows.keys()
            by_second[second] += len(plan.rows)
            largest = max(largest, len(plan.rows))
            occurrences += sum(count.occurrences for count in plan.rows.values())
            counts.stage(plan, plan.rows.keys())
            counts.confirm()
    assert occurrences + counts.waiting == BUSES * SECONDS
    return Written(len(keys), by_second, largest, occurrences)


def _refuse(number: int) -> tuple[CanonicalUpdate, Result]:
    readings = (Reading("soc_percent", 102.5, BEGIN), Reading("speed_kmh", 9.0, BEGIN))
    device_id = f"bus-{number:05d}"
    update = CanonicalUpdate(WORKSPACE, PROVIDER, device_id, None, None, readings, BEGIN, "trace-1")
    return update, Result(Outcome.ACCEPTED, None, device_id, dropped=(REFUSED,))


def test_a_bus_has_one_row_an_hour(written: Written) -> None:
    assert written.new == BUSES


def test_a_row_is_written_once_a_minute(written: Written) -> None:
    """In 125 seconds that is three times, where each update would be 125 times."""
    assert written.by_second.total() == 3 * BUSES
    assert max(written.by_second.values()) <= BUSES


def test_a_minutes_writes_are_spread_over_the_units(written: Written) -> None:
    """A unit writes the refusals of its own updates, and a bounded number of others."""
    assert written.largest_unit <= UNIT + MAX_DUE
