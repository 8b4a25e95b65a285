"""Records of what was committed: one per submission and outcome (NFR-003), one a minute per stream.

There is never one per frame. Owns the records' names, fields and levels. They are written after the
commit, so a record in the log is a row in the database.

A stream submits several times a second. What it submitted is logged at `debug`, unless the ledger
names its trace: then somebody will look for it.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from domain.lifecycle import (
    INGEST_COMPLETED,
    UPDATE_ACCEPTED,
    UPDATE_REJECTED,
    completed_fields,
)
from domain.model import Outcome
from domain.refusals import UNKNOWN_SIGNAL
from domain.signals import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.typing import FilteringBoundLogger

    from actors.stream_activity import Activity
    from domain.cycles import CycleEnd
    from domain.model import Receipt, Submission
    from ports.cycles import AbandonedCycle


def log_outcomes(
    log: FilteringBoundLogger, submission: Submission, receipt: Receipt, *, is_named: bool = False
) -> None:
    """Log what became of a submission: how many updates were accepted and refused.

    Refusals are told by reason, dropped readings by signal and reason, and records that gave no
    update by reason. The end of a cycle is logged if the submission carried one. `is_named` says
    that the ledger names the submission's trace.
    """
    level = logging.DEBUG if submission.origin == "stream" and not is_named else logging.INFO
    if log.is_enabled_for(level):
        _log_updates(log, level, submission, receipt)
    if submission.cycle is not None and receipt.facts_written:
        log_cycle_end(log, submission.trace_id, submission.cycle)


def log_abandoned(log: FilteringBoundLogger, abandoned: Sequence[AbandonedCycle]) -> None:
    """Log the ends of cycles whose shard is gone, so that each record of a start has one."""
    if abandoned:
        log.warning("poll_cycles_abandoned", cycles=len(abandoned))
    for cycle in abandoned:
        log_cycle_end(log, cycle.trace_id, cycle.end)


def _log_updates(
    log: FilteringBoundLogger, level: int, submission: Submission, receipt: Receipt
) -> None:
    fields = _identity(submission, receipt)
    refused, records = count_refusals(receipt), _count_records(submission)
    accepted = len(receipt.results) - refused.total()
    if dropped := count_dropped(receipt):
        fields["dropped_readings"] = nest_dropped(dropped)
    if accepted:
        log.log(level, UPDATE_ACCEPTED, updates=accepted, **fields)
    if refused or records:
        log.log(
            level,
            UPDATE_REJECTED,
            updates=refused.total(),
            reasons=dict(refused),
            records=dict(records),
            **fields,
        )


def log_activity(log: FilteringBoundLogger, provider_type: str | None, activity: Activity) -> None:
    """Log what one stream did in a minute."""
    log.info(
        "stream_activity",
        provider_type=provider_type,
        seconds=activity.seconds,
        frames=activity.frames,
        handed_over=activity.handed_over,
        accepted=activity.accepted,
        refused=activity.refused,
        trace_ids=activity.trace_ids,
    )


def count_refusals(receipt: Receipt) -> Counter[str]:
    """Return how many updates were not accepted, by reason or, where there is none, by outcome."""
    return Counter(
        str(result.reason or result.outcome)
        for result in receipt.results
        if result.outcome is not Outcome.ACCEPTED
    )


def _count_records(submission: Submission) -> Counter[str]:
    """Return how many records gave no update, or not all of it, by reason."""
    counts: Counter[str] = Counter()
    for item in submission.invalid:
        counts[str(item.reason)] += item.occurrences
    return counts


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
        fields["received_at"] = submission.updates[-1].received_at
        if submission.origin == "poll":  # its submissions are of one connection each
            fields["provider_id"] = submission.updates[0].provider_id
    return fields


def log_cycle_end(log: FilteringBoundLogger, trace_id: str, cycle: CycleEnd) -> None:
    log.info(
        INGEST_COMPLETED,
        workspace_id=cycle.key.workspace_id,
        cycle_id=cycle.cycle_id,
        trace_id=trace_id,
        **completed_fields(cycle.ended_at, cycle.outcome, cycle.summary),
    )
