"""Lifecycle records of what was committed (spec.md, NFR-003): one per submission and outcome.

There is never one per frame. Owns the records' names and fields. They are written after the commit,
so a record in the log is a row in the database.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from domain.model import Outcome

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from domain.model import Receipt, Submission


def log_outcomes(log: FilteringBoundLogger, submission: Submission, receipt: Receipt) -> None:
    """Log what became of a submission: how many updates were accepted and refused.

    Refusals are told by reason. The end of a cycle is logged if the submission carried one.
    """
    fields = _identity(submission, receipt)
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
