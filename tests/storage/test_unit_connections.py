"""The facts that are edges, and the row of a connection afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.model import (
    ConnectionFact,
    ConnectionFactKind,
    FaultClass,
)
from storage.unit.connections import ConnectionFold, edge_rows
from storage.unit.rows import ConnectionRow

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
OK, FAILED = ConnectionFactKind.CALL_SUCCEEDED, ConnectionFactKind.CALL_FAILED
OPENED, CLOSED = ConnectionFactKind.STREAM_OPENED, ConnectionFactKind.STREAM_CLOSED
LOST, STEADY = ConnectionFactKind.STREAM_FAILED, ConnectionFactKind.STREAM_STEADY
NOT_ASKED, DATA, SENT = (
    ConnectionFactKind.NOT_ASKED,
    ConnectionFactKind.DATA,
    ConnectionFactKind.SENT,
)
QUOTA, OUTAGE = FaultClass.QUOTA, FaultClass.OUTAGE

History = list[tuple[ConnectionFactKind, FaultClass | None]]


def after(seconds: int) -> datetime:
    return NOON + timedelta(seconds=seconds)


def fold(*history: tuple[ConnectionFactKind, FaultClass | None]) -> ConnectionFold:
    """Fold one fact a second, from noon on."""
    folded = ConnectionFold(ConnectionRow("harbour", "live"))
    for second, (kind, fault) in enumerate(history):
        folded.apply(ConnectionFact("harbour", "live", kind, after(second), fault))
    return folded


@pytest.mark.parametrize(
    ("history", "edges"),
    [
        pytest.param([(OK, None), (OK, None)], [(0, "call_succeeded")], id="success goes on"),
        pytest.param(
            [(FAILED, OUTAGE), (FAILED, OUTAGE)], [(0, "call_failed")], id="failure goes on"
        ),
        pytest.param(
            [(FAILED, OUTAGE), (FAILED, QUOTA)],
            [(0, "call_failed"), (1, "call_failed")],
            id="another class of fault",
        ),
        pytest.param(
            [(OK, None), (FAILED, OUTAGE), (OK, None)],
            [(0, "call_succeeded"), (1, "call_failed"), (2, "call_succeeded")],
            id="failure and recovery",
        ),
        pytest.param(
            [(OPENED, None), (OPENED, None), (CLOSED, None)],
            [(0, "stream_opened"), (2, "stream_closed")],
            id="a stream goes on",
        ),
        pytest.param(
            [(FAILED, OUTAGE), (OPENED, None)],
            [(0, "call_failed"), (1, "stream_opened")],
            id="a stream that opens is no call",
        ),
    ],
)
def test_only_changes_are_edges(history: History, edges: list[tuple[int, str]]) -> None:
    rows = edge_rows([fold(*history)])
    assert [((at - NOON).seconds, kind) for _, _, at, kind, *_ in rows] == edges


def test_an_edge_row_has_the_facts_fault_and_detail() -> None:
    failed = ConnectionFact("harbour", "live", FAILED, NOON, QUOTA, "answered 429")
    opened = ConnectionFact("harbour", "live", OPENED, NOON)
    folded = ConnectionFold(ConnectionRow("harbour", "live"))
    folded.apply(failed)
    folded.apply(opened)
    assert edge_rows([folded]) == [
        ("harbour", "live", NOON, "call_failed", "quota", "answered 429"),
        ("harbour", "live", NOON, "stream_opened", None, None),
    ]


def test_a_failure_without_a_class_is_stored_without_one() -> None:
    row = fold((FAILED, None)).row
    assert (row.call_status, row.fault) == ("failed", None)


def test_failing_since_is_the_first_failure_of_the_present_run() -> None:
    row = fold((FAILED, OUTAGE), (OK, None), (FAILED, OUTAGE), (FAILED, QUOTA)).row
    assert row.failing_since == NOON + timedelta(seconds=2)
    assert (row.call_status, row.fault) == ("failed", "quota")


def test_a_success_ends_the_run_and_keeps_the_last_failure() -> None:
    row = fold((FAILED, QUOTA), (OK, None)).row
    assert (row.call_status, row.failing_since, row.fault) == ("succeeded", None, "quota")
    assert row.last_failure_at == NOON


def test_a_stream_and_calls_keep_separate_last_results() -> None:
    row = fold((FAILED, OUTAGE), (OPENED, None), (LOST, QUOTA), (OK, None)).row
    assert (row.call_status, row.fault) == ("succeeded", "outage")
    assert (row.stream_status, row.stream_fault) == ("closed", "quota")
    assert (row.stream_changed_at, row.stream_down_since) == (after(2), after(2))


def test_the_trouble_of_a_stream_lasts_until_it_is_steady() -> None:
    history = ((LOST, OUTAGE), (OPENED, None), (LOST, OUTAGE), (OPENED, None))
    assert fold(*history).row.stream_down_since == NOON
    row = fold(*history, (STEADY, None)).row
    assert (row.stream_status, row.stream_fault, row.stream_down_since) == ("open", None, None)


def test_a_stream_that_we_close_is_in_no_trouble() -> None:
    row = fold((OPENED, None), (CLOSED, None)).row
    assert (row.stream_status, row.stream_fault, row.stream_down_since) == ("closed", None, None)


@pytest.mark.parametrize(
    ("history", "edges"),
    [
        ([(LOST, OUTAGE), (LOST, OUTAGE)], [(0, "outage")]),
        ([(LOST, OUTAGE), (LOST, QUOTA)], [(0, "outage"), (1, "quota")]),
        ([(OPENED, None), (LOST, OUTAGE)], [(0, None), (1, "outage")]),
        ([(OPENED, None), (CLOSED, None), (LOST, OUTAGE)], [(0, None), (1, None), (2, "outage")]),
    ],
)
def test_a_lost_stream_is_an_edge_with_its_fault(
    history: History, edges: list[tuple[int, str | None]]
) -> None:
    rows = edge_rows([fold(*history)])
    assert [((row.at - NOON).seconds, row.fault) for row in rows] == edges


def test_a_call_that_ends_was_asked() -> None:
    begun = ConnectionFact("harbour", "live", OK, after(5), begun_at=after(3))
    folded = fold((NOT_ASKED, None))
    assert folded.row.not_asked_at == NOON
    folded.apply(begun)
    row = folded.row
    assert (row.call_begun_at, row.call_ended_at, row.not_asked_at) == (after(3), after(5), None)


@pytest.mark.parametrize("name", ["complete", "roster"])
def test_the_answer_whose_call_was_begun_last_counts(name: str) -> None:
    kind = ConnectionFactKind(name)
    folded = fold()
    for begun, ended in ((4, 5), (2, 9)):
        folded.apply(ConnectionFact("harbour", "live", kind, after(ended), begun_at=after(begun)))
    row = folded.row._asdict()
    assert (row[f"{name}_begun_at"], row[f"{name}_at"]) == (after(4), after(5))


@pytest.mark.parametrize(
    ("came", "newest"),
    [
        ([("bus-1", 1)], (1, "bus-1", None)),
        ([("bus-1", 1), ("bus-1", 2)], (2, "bus-1", None)),
        ([("bus-1", 1), ("bus-2", 2)], (2, "bus-2", 1)),
        ([("bus-2", 2), ("bus-1", 1)], (2, "bus-2", 1)),
        ([("bus-1", 1), ("bus-2", 2), ("bus-2", 4)], (4, "bus-2", 1)),
        ([("bus-1", 1), ("bus-2", 2), ("bus-1", 3)], (3, "bus-1", 2)),
    ],
)
def test_the_newest_data_is_kept_of_two_devices(
    came: list[tuple[str, int]], newest: tuple[int, str, int | None]
) -> None:
    folded = fold()
    for device_id, second in came:
        folded.apply(ConnectionFact("harbour", "live", DATA, after(second), device_id=device_id))
    data, device_id, other = newest
    row = folded.row
    assert (row.data_at, row.data_device_id) == (after(data), device_id)
    assert row.other_data_at == (None if other is None else after(other))
    assert row.readable_at == after(data)


@pytest.mark.parametrize(
    ("kind", "column"),
    [("readable", "readable_at"), ("unreadable", "unreadable_at"), ("sent", "sender_at")],
)
def test_the_newest_time_is_kept(kind: str, column: str) -> None:
    folded = fold()
    for second in (3, 1):
        fact = ConnectionFact("harbour", "live", ConnectionFactKind(kind), after(second))
        folded.apply(fact)
    assert folded.row._asdict()[column] == after(3)
    assert folded.edges == []


SECOND = timedelta(seconds=1)
COMPLETE, ROSTER = ConnectionFactKind.COMPLETE, ConnectionFactKind.ROSTER
READABLE, UNREADABLE = ConnectionFactKind.READABLE, ConnectionFactKind.UNREADABLE
GOOD = (OK, READABLE, COMPLETE)
HOUR = 3600


def edges_of(*units: tuple[int, tuple[ConnectionFactKind, ...]]) -> list[tuple[int, str]]:
    """Return instant and kind of each edge, of units at these seconds after noon."""
    row, found = ConnectionRow("harbour", "live"), []
    for second, kinds in units:
        folded = ConnectionFold(row)
        for kind in kinds:
            folded.apply(ConnectionFact("harbour", "live", kind, after(second), device_id="bus-1"))
        row = folded.row
        found += [((at - NOON) // SECOND, kind) for _, _, at, kind, *_ in edge_rows([folded])]
    return found


@pytest.mark.parametrize(
    ("units", "edges"),
    [
        (
            [(0, GOOD), (300, (NOT_ASKED,)), (600, (NOT_ASKED,)), (900, GOOD)],
            [(300, "cycle_not_asked"), (900, "cycle_asked")],
        ),
        (
            [(0, GOOD), (300, (OK, READABLE)), (600, (OK, READABLE)), (900, GOOD)],
            [(300, "answer_incomplete"), (900, "answer_complete")],
        ),
        (
            [(0, GOOD), (300, (FAILED,)), (600, (FAILED,)), (900, GOOD)],
            [
                (300, "call_failed"),
                (300, "answer_incomplete"),
                (900, "call_succeeded"),
                (900, "answer_complete"),
            ],
        ),
        (
            [(0, GOOD), (300, (OK, UNREADABLE)), (600, (OK, UNREADABLE)), (900, GOOD)],
            [
                (300, "answer_incomplete"),
                (300, "data_unreadable"),
                (900, "answer_complete"),
                (900, "data_readable"),
            ],
        ),
        (
            [(0, GOOD), (1, (LOST,)), (2, (LOST,)), (3, (OPENED,)), (63, (STEADY,))],
            [(1, "stream_closed"), (3, "stream_opened"), (63, "stream_steady")],
        ),
        ([(0, GOOD), (1, (STEADY,))], []),
        (
            [(0, (*GOOD, ROSTER)), (24 * HOUR, (ROSTER,)), (48 * HOUR + 1, (ROSTER,))],
            [(0, "roster_answered"), (48 * HOUR + 1, "roster_answered")],
        ),
        (
            [(0, (*GOOD, SENT)), (900, (SENT,)), (1801, (SENT,)), (1811, (SENT,))],
            [(0, "sender_returned"), (1801, "sender_returned")],
        ),
    ],
    ids=["asked", "complete", "failed", "readable", "steady", "no trouble", "roster", "sender"],
)
def test_a_fact_of_the_row_has_an_edge_when_it_changes(
    units: list[tuple[int, tuple[ConnectionFactKind, ...]]], edges: list[tuple[int, str]]
) -> None:
    begun = [(0, "call_succeeded"), (0, "answer_complete")]
    assert [edge for edge in edges_of(*units) if edge not in begun] == edges


def test_a_connection_that_works_has_edges_at_its_begin_only() -> None:
    """Polls every five minutes for two days, with a roster every 12 h; and clients that send."""
    cycles = [
        (300 * number, (*GOOD, ROSTER, SENT, DATA) if number % 144 == 0 else (*GOOD, SENT, DATA))
        for number in range(576)
    ]
    assert edges_of(*cycles) == [
        (0, "call_succeeded"),
        (0, "answer_complete"),
        (0, "roster_answered"),
        (0, "sender_returned"),
    ]
