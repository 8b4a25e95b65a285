"""Lifecycle records of what was committed (spec.md, NFR-003): one per submission and outcome.

There is never one per frame. Owns the records' names and fields. They are written after the commit,
so a record in the log is a row in the database.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from domain.model import Outcome
from domain.refusals import UNKNOWN_SIGNAL
from domain.signals import CATALOGUE

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from domain.model import Receipt, Submission


def log_outcomes(log: FilteringBoundLogger, submission: Submission, receipt: Receipt) -> None:
    """Log what became of a submission: how many updates were accepted and refused.

    Refusals are told by reason, dropped readings by signal and reason. The end of a cycle is logged
    if the submission carried one.
    """
    fields = _identity(submission, receipt)
    dropped = count_dropped(receipt)
    if dropped:
        fields["dropped_readings"] = nest_dropped(dropped)
    accepted = sum(1 for result in receipt.results if result.outcome is Outcome.ACCEPTED)
    if accepted:
        log.info("telematics_update_accepted", updates=accepted, **fields)
    refused = count_refusals(receipt)
    if refused:
        log.info(
            "telematics_update_rejected",
            updates=sum(refused.values()),
            reasons=dict(refused),
            **fields,
        )
    if submission.cycle is not None and receipt.facts_written:
        _log_cycle_end(log, submission)


def count_refusals(receipt: Receipt) -> Counter[str]:
    """Return how many updates were not accepted, by reason or, where there is none, by outcome."""
    return Counter(
        str(result.reason or result.outcome)
        for result in receipt.results
        if result.outcome is not Outcome.ACCEPTED
    )


def count_dropped(receipt: Receipt) -> Counter[tuple[str, str]]:
    """Return how many readings were refused, by signal and reason, of accepted updates too."""
    return Counter(
        (dropped.signal if dropped.signal in CATALOGUE else UNKNOWN_SIGNAL, str(dropped.reason))
        for result in receipt.results
        if result.dropped
        for dropped in result.dropped
    )


def nest_dropped(dropped: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Return the counts as signal -> reason -> count, in the order of the names."""
    nested: dict[str, dict[str, int]] = {}
    for (signal, reason), count in sorted(dropped.items()):
        nested.setdefault(signal, {})[reason] = count
    return nested


def _identity(submission: Submission, receipt: Receipt) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "trace_id": submission.trace_id,
        "origin": submission.origin,
        "unit": receipt.unit,
        "committed_at": receipt.committed_at,
    }
    if submission.ownership is not None:
        fields["resource"] = submission.ownership.resource
    if submission.updates:
        fields["workspace_id"] = submission.updates[0].workspace_id
    return fields


def _log_cycle_end(log: FilteringBoundLogger, submission: Submission) -> None:
    cycle = submission.cycle
    if cycle is None:
        return
    log.info(
        "workspace_poll_ingest_completed",
        workspace_id=cycle.key.workspace_id,
        cycle_id=cycle.cycle_id,
        trace_id=submission.trace_id,
        cycle_ended_at=cycle.ended_at,
        outcome=str(cycle.outcome),
        result_summary=cycle.summary,
    )
