"""The lifecycle records of a cycle follow from its stored row (NFR-003)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson
from hypothesis import given
from hypothesis import strategies as st

from domain.cycles import CycleKey, CycleOutcome, CycleTrigger
from domain.lifecycle import (
    COLLECTED,
    CYCLE_TRIGGERED,
    INGEST_COMPLETED,
    MESSAGE_RECEIVED,
    PAYLOAD_PREPARED,
    UPDATE_ACCEPTED,
    UPDATE_REJECTED,
    CollectedFacts,
    LifecycleRecord,
    lifecycle_records,
)

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
KEY = CycleKey("harbour", NOON, CycleTrigger.SCHEDULE, 1)
STEPS = [MESSAGE_RECEIVED, PAYLOAD_PREPARED, UPDATE_ACCEPTED, UPDATE_REJECTED]


class Row(NamedTuple):
    key: CycleKey = KEY
    started_at: datetime | None = NOON
    ended_at: datetime | None = NOON + timedelta(seconds=9)
    outcome: str = CycleOutcome.COMPLETED
    summary: dict[str, Any] = {}  # noqa: RUF012 - never changed


def said(seconds: float | None) -> str | None:
    return None if seconds is None else (NOON + timedelta(seconds=seconds)).isoformat()


def collected(
    received: float | None = 1.0,
    prepared: float | None = 2.0,
    committed: float | None = 3.0,
    **counts: Any,
) -> CollectedFacts:
    plain = CollectedFacts(
        provider_type="rfms",
        received_at=said(received),
        payload_prepared_at=said(prepared),
        committed_at=said(committed),
        frames=7,
        updates=5,
        devices_answered=4,
        malformed=2,
        ignored=1,
        accepted=3,
        reasons={"duplicate": 2},
        rejected_records={"malformed": 2},
    )
    return CollectedFacts(**{**plain, **counts})  # type: ignore[typeddict-item]


def ended(**connections: CollectedFacts) -> Row:
    return Row(summary={COLLECTED: connections})


def names(row: Row) -> list[str]:
    return [record.name for record in lifecycle_records(row)]


def test_nfr_003_a_whole_cycle_is_told_from_start_to_outcome() -> None:
    row = ended(live=collected())
    who = {"provider_type": "rfms", "provider_id": "live"}
    at = [NOON + timedelta(seconds=seconds) for seconds in range(10)]
    assert lifecycle_records(row) == (
        LifecycleRecord(
            CYCLE_TRIGGERED,
            NOON,
            {"slot_at": NOON, "attempt": 1, "trigger": "schedule", "cycle_started_at": NOON},
        ),
        LifecycleRecord(MESSAGE_RECEIVED, at[1], who | {"received_at": at[1], "frames": 7}),
        LifecycleRecord(
            PAYLOAD_PREPARED,
            at[2],
            who
            | {"payload_prepared_at": at[2], "updates": 5, "devices_answered": 4}
            | {"malformed": 2, "ignored": 1},
        ),
        LifecycleRecord(UPDATE_ACCEPTED, at[3], who | {"committed_at": at[3], "updates": 3}),
        LifecycleRecord(
            UPDATE_REJECTED,
            at[3],
            who
            | {"committed_at": at[3], "updates": 2}
            | {"reasons": {"duplicate": 2}, "records": {"malformed": 2}},
        ),
        LifecycleRecord(
            INGEST_COMPLETED,
            at[9],
            {"cycle_ended_at": at[9], "outcome": "completed", "result_summary": row.summary},
        ),
    )


def test_nfr_003_a_cycle_that_runs_is_told_as_far_as_it_is_known() -> None:
    assert names(Row(ended_at=None, outcome=CycleOutcome.RUNNING)) == [CYCLE_TRIGGERED]


def test_nfr_003_a_cycle_of_a_killed_shard_is_told_to_its_end() -> None:
    row = Row(outcome=CycleOutcome.ABANDONED)
    assert names(row) == [CYCLE_TRIGGERED, INGEST_COMPLETED]
    assert lifecycle_records(row)[-1].fields["outcome"] == "abandoned"


def test_a_cycle_that_never_started_has_no_records() -> None:
    for outcome in (CycleOutcome.MISSED, "requested"):
        assert names(Row(started_at=None, ended_at=None, outcome=outcome)) == []


def test_a_row_of_an_older_release_has_its_start_and_its_end() -> None:
    row = Row(summary={"connections": {"live": "ok"}, "records": 7, "outcomes": {"accepted": 3}})
    assert names(row) == [CYCLE_TRIGGERED, INGEST_COMPLETED]


def test_nothing_is_told_that_did_not_happen() -> None:
    nothing: dict[str, Any] = {"accepted": 0, "reasons": {}, "rejected_records": {}}
    assert names(ended(live=collected(None, None, None, **nothing))) == [
        CYCLE_TRIGGERED,
        INGEST_COMPLETED,
    ]
    assert names(ended(live=collected(**nothing))) == [
        CYCLE_TRIGGERED,
        *STEPS[:2],
        INGEST_COMPLETED,
    ]


def test_an_unreadable_answer_is_a_rejection_without_a_commit() -> None:
    unread = collected(None, None, None, accepted=0, reasons={}, rejected_records={"invalid": 1})
    (rejected,) = lifecycle_records(ended(live=unread))[1:-1]
    assert (rejected.name, rejected.at) == (UPDATE_REJECTED, ended().ended_at)
    assert rejected.fields["committed_at"] is None


def test_connections_are_told_in_the_order_of_time() -> None:
    row = ended(slow=collected(4.0, 5.0, 6.0), fast=collected(1.0, 1.0, 4.5))
    told = [(one.fields["provider_id"], one.name) for one in lifecycle_records(row)[1:-1]]
    assert told == [
        *(("fast", name) for name in STEPS[:2]),
        ("slow", MESSAGE_RECEIVED),
        *(("fast", name) for name in STEPS[2:]),
        *(("slow", name) for name in STEPS[1:]),
    ]


SECONDS = st.one_of(st.none(), st.floats(-30, 30))


@given(st.dictionaries(st.text(), st.tuples(SECONDS, SECONDS, SECONDS), max_size=4))
def test_cause_comes_before_effect_whatever_the_clocks_say(
    times: dict[str, tuple[float | None, float | None, float | None]],
) -> None:
    """The process's clock and the database's may differ, and may be set back."""
    row = ended(**{name: collected(*seconds) for name, seconds in times.items()})
    told = lifecycle_records(row)
    assert (told[0].name, told[-1].name) == (CYCLE_TRIGGERED, INGEST_COMPLETED)
    for provider_id in times:
        own = [one.name for one in told if one.fields.get("provider_id") == provider_id]
        assert own == [name for name in STEPS if name in own]
        assert own[-2:] == STEPS[-2:]


@given(
    st.integers(0, 1000),
    st.dictionaries(st.sampled_from(["stale", "duplicate"]), st.integers(1, 9)),
)
def test_the_counts_survive_storage(accepted: int, reasons: dict[str, int]) -> None:
    row = ended(live=collected(accepted=accepted, reasons=reasons))
    stored = row._replace(summary=orjson.loads(orjson.dumps(row.summary)))
    assert lifecycle_records(stored) == lifecycle_records(row)
    updates = {
        record.name: record.fields["updates"]
        for record in lifecycle_records(stored)
        if record.name in STEPS[2:]
    }
    assert updates.get(UPDATE_ACCEPTED, 0) == accepted
    assert updates[UPDATE_REJECTED] == sum(reasons.values())
