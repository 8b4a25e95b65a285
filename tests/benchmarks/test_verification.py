"""Each check of the benchmarks finds the fault it is there for, and none in what is right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from benchmarks.load import Load, Readings, expect
from benchmarks.verification import (
    NotVerified,
    Stored,
    check_counts,
    check_durable,
    check_fence,
    check_health,
    check_sequences,
    check_stored,
    check_units,
    require,
)

if TYPE_CHECKING:
    from collections.abc import Callable

LOAD = Load(updates=400, devices=50)
EXPECTED = expect(LOAD)
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
STATES = {"a": "healthy", "b": "healthy", "c": "stale"}
COUNTS = {"submitted": 400, "pending": 0, "outcomes": EXPECTED.outcomes}
Rows = list[tuple[str, int, str]]


def as_json(readings: Readings) -> str:
    """Return a document as PostgreSQL gives it back."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return orjson.dumps(
        {
            name: (value, epoch + timedelta(milliseconds=at))
            for name, (value, at) in readings.items()
        }
    ).decode()


def stored(change_events: Callable[[Rows], Rows] = lambda rows: rows) -> Stored:
    """Return what a faultless run stores, with one change."""
    events = [
        (device_id, event.sequence, as_json(event.readings))
        for device_id, history in sorted(EXPECTED.events.items())
        for event in history
    ]
    versions = {device_id: len(history) for device_id, history in EXPECTED.events.items()}
    documents = {
        device_id: (versions[device_id], as_json(document))
        for device_id, document in EXPECTED.documents.items()
    }
    return Stored(change_events(events), versions, documents)


def kinds(faults: list[str]) -> set[str]:
    return {fault.partition(":")[0] for fault in faults}


def test_a_faultless_run_is_verified() -> None:
    assert check_stored(stored(), EXPECTED) == []
    require([])


def test_the_first_fault_ends_the_run_and_names_all() -> None:
    with pytest.raises(NotVerified, match="one\ntwo") as raised:
        require(["one", "two"])
    assert raised.value.faults == ("one", "two")


BAD_EVENTS: list[tuple[str, Callable[[Rows], Rows], set[str]]] = [
    ("missing", lambda rows: rows[:-1], {"rows"}),
    ("twice", lambda rows: [*rows, rows[-1]], {"rows", "sequences"}),
    ("always 1", lambda rows: [(name, 1, text) for name, _, text in rows], {"sequences"}),
    ("empty", lambda rows: [(name, number, "{}") for name, number, _ in rows], {"readings"}),
    ("swapped", lambda rows: [*rows[:-1], (*rows[-1][:2], rows[0][2])], {"readings"}),
]


@pytest.mark.parametrize(
    ("change", "found"), [case[1:] for case in BAD_EVENTS], ids=[c[0] for c in BAD_EVENTS]
)
def test_a_fault_in_the_events_is_found(change: Callable[[Rows], Rows], found: set[str]) -> None:
    assert kinds(check_stored(stored(change), EXPECTED)) == found


def test_a_gap_in_a_sequence_is_found() -> None:
    assert check_sequences([("a", 1, ""), ("a", 2, ""), ("b", 1, "")]) == []
    assert kinds(check_sequences([("a", 1, ""), ("a", 3, "")])) == {"sequences"}


def test_a_wrong_version_is_found_in_either_table() -> None:
    right = stored()
    wrong = right._replace(states={**right.states, "bus_00007": 99})
    assert kinds(check_stored(wrong, EXPECTED)) == {"rows"}
    document = right.snapshots["bus_00007"][1]
    wrong = right._replace(snapshots={**right.snapshots, "bus_00007": (99, document)})
    assert kinds(check_stored(wrong, EXPECTED)) == {"rows"}


def test_a_wrong_document_is_found() -> None:
    right = stored()
    version = right.snapshots["bus_00007"][0]
    wrong = right._replace(snapshots={**right.snapshots, "bus_00007": (version, "{}")})
    assert kinds(check_stored(wrong, EXPECTED)) == {"readings"}


def test_what_stands_beside_value_and_time_is_not_compared() -> None:
    def add(rows: Rows) -> Rows:
        return [
            (
                name,
                number,
                orjson.dumps(
                    {key: [*entry, None] for key, entry in orjson.loads(text).items()}
                ).decode(),
            )
            for name, number, text in rows
        ]

    assert check_stored(stored(add), EXPECTED) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"submitted": 399},
        {"pending": 1},
        {"outcomes": {"accepted": 400}},
        {"outcomes": {**EXPECTED.outcomes, "quarantined": 1}},
    ],
)
def test_counts_that_are_not_the_loads_are_found(wrong: dict[str, Any]) -> None:
    assert check_counts(COUNTS, EXPECTED, 400) == []
    assert kinds(check_counts(COUNTS | wrong, EXPECTED, 400)) == {"identities"}


def test_units_of_another_shape_are_found() -> None:
    assert check_units({"largest_unit": 1000, "units": 10}, 10_000, 1000) == []
    assert check_units({"largest_unit": 2000, "units": 5}, 10_000, 1000) != []
    assert check_units({"largest_unit": 100, "units": 100}, 10_000, 1000) != []


@pytest.mark.parametrize("name", DURABLE)
def test_each_durability_setting_is_found_when_off_or_unknown(name: str) -> None:
    assert check_durable(DURABLE, "here") == []
    assert check_durable(DURABLE | {name: "off"}, "here") == [f"fsync: {name} is off here"]
    unknown = {key: value for key, value in DURABLE.items() if key != name}
    assert check_durable(unknown, "here") == [f"fsync: {name} is not known here"]


def test_a_dead_session_must_write_nothing_and_be_told_so() -> None:
    assert check_fence((5, 5), (5, 5), refused=True) == []
    assert kinds(check_fence((5, 5), (6, 6), refused=True)) == {"fence"}
    assert kinds(check_fence((5, 5), (5, 6), refused=True)) == {"fence"}
    assert kinds(check_fence((5, 5), (5, 5), refused=False)) == {"fence"}


def health_of(*items: tuple[str, str], **counts: int) -> dict[str, Any]:
    return {
        "items": [{"device_id": name, "state": state} for name, state in items],
        "counts": counts,
    }


def test_a_right_health_answer_is_verified() -> None:
    answer = health_of(*STATES.items(), healthy=2, stale=1, delayed=0)
    assert check_health(answer, STATES) == []


@pytest.mark.parametrize(
    "answer",
    [
        health_of(("a", "healthy"), ("b", "healthy"), healthy=2, stale=1),
        health_of(*STATES.items(), ("a", "healthy"), healthy=2, stale=1),
        health_of(("a", "healthy"), ("a", "healthy"), ("c", "stale"), healthy=2, stale=1),
        health_of(("a", "healthy"), ("b", "stale"), ("c", "stale"), healthy=2, stale=1),
        health_of(*STATES.items(), healthy=3),
    ],
    ids=["missing", "twice", "instead of another", "wrong state", "wrong counts"],
)
def test_a_wrong_health_answer_is_found(answer: dict[str, Any]) -> None:
    assert kinds(check_health(answer, STATES)) == {"health"}
