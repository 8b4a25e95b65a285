"""Lifecycle records of commits: one per submission and outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from actors.records import count_refusals, log_abandoned, log_outcomes
from domain.cycles import CycleEnd, CycleKey, CycleOutcome, CycleTrigger
from domain.model import (
    Dropped,
    InvalidItem,
    Outcome,
    Ownership,
    Reason,
    Receipt,
    Result,
    Submission,
)
from domain.resource import workspace_resource
from ports.cycles import AbandonedCycle
from runtime.logs import get_logger
from tests.actors.harness import HARBOUR, update
from tests.actors.instants import NOON

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    Events = list[MutableMapping[str, Any]]

OWNER = Ownership(workspace_resource("harbour"), "shard-1", 3, 7)
ACCEPTED, STALE = Result(Outcome.ACCEPTED), Result(Outcome.STALE)
UNKNOWN = Result(Outcome.REJECTED, Reason.UNKNOWN_DEVICE)


def logged(
    events: Events,
    *results: Result,
    origin: Literal["stream", "poll"] = "poll",
    is_named: bool = False,
    **rest: Any,
) -> list[dict[str, Any]]:
    updates = tuple(update("bus-1", number, soc_percent=1) for number in range(len(results)))
    log_outcomes(
        get_logger("test"),
        Submission(origin, "trace-1", updates, **rest),
        Receipt(9, NOON, results),
        is_named=is_named,
    )
    return [dict(event) for event in events]


def test_accepted_and_refused_updates_have_a_record_each(events: Events) -> None:
    accepted, rejected = logged(
        events, ACCEPTED, UNKNOWN, ACCEPTED, STALE, UNKNOWN, ownership=OWNER
    )
    identity = {
        "trace_id": "trace-1",
        "origin": "poll",
        "unit": 9,
        "committed_at": NOON,
        "received_at": update("bus-1", 4, soc_percent=1).received_at,
        "resource": "workspace:harbour",
        "workspace_id": HARBOUR,
        "provider_id": "steady",
        "logger_name": "test",
        "log_level": "info",
    }
    assert accepted == {"event": "telematics_update_accepted", "updates": 2, **identity}
    assert rejected == {
        "event": "telematics_update_rejected",
        "updates": 3,
        "reasons": {"unknown_device": 2, "stale": 1},
        "records": {},
        **identity,
    }


def test_a_stream_tells_its_submissions_at_debug(events: Events) -> None:
    told = logged(events, ACCEPTED, STALE, origin="stream")
    assert [line["log_level"] for line in told] == ["debug", "debug"]


def test_a_trace_that_the_ledger_names_is_told_at_info(events: Events) -> None:
    told = logged(events, ACCEPTED, UNKNOWN, origin="stream", is_named=True)
    assert [line["log_level"] for line in told] == ["info", "info"]


def test_records_that_gave_no_update_are_told_by_reason(events: Events) -> None:
    item = InvalidItem(HARBOUR, "vendor", "bus-1", Reason.MALFORMED, "no time", b"{}", 3)
    (record,) = logged(events, invalid=(item, item._replace(occurrences=1)))
    assert record["event"] == "telematics_update_rejected"
    assert (record["updates"], record["records"]) == (0, {"malformed": 4})


def test_nothing_is_said_of_a_submission_that_only_carries_facts(events: Events) -> None:
    assert logged(events) == []


def test_the_end_of_a_cycle_is_recorded_with_its_summary(events: Events) -> None:
    key = CycleKey(HARBOUR, NOON, CycleTrigger.SCHEDULE, 1)
    (record,) = logged(
        events, cycle=CycleEnd(key, "cycle-1", NOON, CycleOutcome.PARTIAL, {"updates": 3})
    )
    assert record == {
        "event": "workspace_poll_ingest_completed",
        "workspace_id": HARBOUR,
        "cycle_id": "cycle-1",
        "trace_id": "trace-1",
        "cycle_ended_at": NOON,
        "outcome": "partial",
        "result_summary": {"updates": 3},
        "logger_name": "test",
        "log_level": "info",
    }


def test_nfr_003_the_end_of_an_abandoned_cycle_is_recorded(events: Events) -> None:
    key = CycleKey(HARBOUR, NOON, CycleTrigger.SCHEDULE, 1)
    end = CycleEnd(key, "cycle-1", NOON, CycleOutcome.ABANDONED, {})
    log_abandoned(get_logger("test"), [AbandonedCycle("trace-9", end)])
    warned, ended = events
    assert (warned["event"], warned["cycles"]) == ("poll_cycles_abandoned", 1)
    assert (ended["event"], ended["trace_id"]) == ("workspace_poll_ingest_completed", "trace-9")
    assert (ended["cycle_id"], ended["outcome"]) == ("cycle-1", "abandoned")
    events.clear()
    log_abandoned(get_logger("test"), [])
    assert events == []


def test_nothing_is_said_of_an_end_that_was_not_written(events: Events) -> None:
    """The submission was fenced or poison, so the cycle's row says something else."""
    end = CycleEnd(
        CycleKey(HARBOUR, NOON, CycleTrigger.SCHEDULE, 1),
        "cycle-1",
        NOON,
        CycleOutcome.COMPLETED,
        {},
    )
    receipt = Receipt(9, NOON, (), facts_written=False)
    log_outcomes(get_logger("test"), Submission("poll", "trace-1", cycle=end), receipt)
    assert events == []


def test_refusals_are_counted_by_reason_where_there_is_one() -> None:
    receipt = Receipt(1, NOON, (ACCEPTED, UNKNOWN, STALE, STALE))
    assert count_refusals(receipt) == {"unknown_device": 1, "stale": 2}


def test_dropped_readings_are_told_by_signal_and_reason(events: Events) -> None:
    dropped = (
        Dropped("soc_percent", Reason.INVALID, "above 100"),
        Dropped("flux", Reason.INVALID, "unknown signal"),
    )
    receipt = Receipt(1, NOON, (ACCEPTED._replace(dropped=dropped),) * 2)
    log_outcomes(get_logger("test"), Submission("poll", "trace-1"), receipt)
    (record,) = events
    assert record["dropped_readings"] == {"soc_percent": {"invalid": 2}, "unknown": {"invalid": 2}}
