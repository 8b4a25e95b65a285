"""The facts that are edges, and the row of a connection afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.model import ConnectionFact, ConnectionFactKind, FaultClass
from storage.unit_connections import ConnectionFold, edge_rows
from storage.unit_rows import ConnectionRow

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
OK, FAILED = ConnectionFactKind.CALL_SUCCEEDED, ConnectionFactKind.CALL_FAILED
OPENED, CLOSED = ConnectionFactKind.STREAM_OPENED, ConnectionFactKind.STREAM_CLOSED
QUOTA, OUTAGE = FaultClass.QUOTA, FaultClass.OUTAGE

History = list[tuple[ConnectionFactKind, FaultClass | None]]


def fold(*history: tuple[ConnectionFactKind, FaultClass | None]) -> ConnectionFold:
    """Fold one fact a second, from noon on."""
    folded = ConnectionFold(ConnectionRow("harbour", "live", *[None] * 10))
    for second, (kind, fault) in enumerate(history):
        folded.apply(
            ConnectionFact("harbour", "live", kind, NOON + timedelta(seconds=second), fault)
        )
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
            [(0, "call_succeeded"), (0, "stream_opened"), (2, "stream_closed")],
            id="a stream that opened has answered",
        ),
        pytest.param(
            [(FAILED, OUTAGE), (OPENED, None)],
            [(0, "call_failed"), (1, "call_succeeded"), (1, "stream_opened")],
            id="a stream that opens after a failed call recovers",
        ),
    ],
)
def test_only_changes_are_edges(history: History, edges: list[tuple[int, str]]) -> None:
    rows = edge_rows([fold(*history)])
    assert [((at - NOON).seconds, kind) for _, _, at, kind, *_ in rows] == edges


def test_an_edge_row_has_the_facts_fault_and_detail() -> None:
    failed = ConnectionFact("harbour", "live", FAILED, NOON, QUOTA, "answered 429")
    opened = ConnectionFact("harbour", "live", OPENED, NOON)
    folded = ConnectionFold(ConnectionRow("harbour", "live", *[None] * 10))
    folded.apply(failed)
    folded.apply(opened)
    assert edge_rows([folded]) == [
        ("harbour", "live", NOON, "call_failed", "quota", "answered 429"),
        ("harbour", "live", NOON, "call_succeeded", None, None),
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


def test_a_closing_stream_does_not_fail_the_last_call() -> None:
    row = fold((OPENED, None), (CLOSED, OUTAGE)).row
    assert (row.call_status, row.stream_status) == ("succeeded", "closed")
    assert row.stream_changed_at == NOON + timedelta(seconds=1)
