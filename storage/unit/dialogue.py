"""The ingest unit: it writes one batch of submissions, as a dialogue with the database.

Owns the order of the steps. The unit is a generator that yields named statements and receives their
rows. So asyncpg in production and the twin in simulation drive the same code, and a simulation can
fail, pause or interleave it at every step. It must never do I/O itself, read a clock, or write
anything before the fence and the locks.

The order is fixed, keys are sorted in each step, and a step with nothing to do is not yielded:
fence -> resolve external ids -> lock devices -> judge in mailbox order -> device_state -> snapshots
-> events -> connections (cursors, facts) -> cycles -> ledger -> quarantine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from domain.model import Outcome, Reason, Receipt, Result
from domain.refusals import RefusalCounts
from ports.ingest import SessionFenced
from storage.unit.connections import ConnectionFold, edge_rows
from storage.unit.devices import DeviceBatch
from storage.unit.ledger import quarantine_facts, quarantine_row
from storage.unit.rows import ConnectionRow, CountedDevices, CycleEndRow
from storage.unit.steps import Statement, append, columns, dump_json

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from datetime import datetime

    from domain.cycles import CycleEnd
    from domain.model import SessionRef, Submission
    from ports.ingest import UnitPoisoned
    from storage.unit.steps import Rows, Steps


class UnitNumber(NamedTuple):
    """Which unit of its session this is, and whose. The number alone is unique in the session."""

    writer: int
    number: int


FENCED = Result(Outcome.REJECTED, Reason.FENCED, detail="collected under a session that is over")


def ingest_unit(
    session: SessionRef,
    unit: UnitNumber,
    submissions: Sequence[Submission],
    counts: RefusalCounts | None = None,
) -> Generator[Statement, Rows, list[Receipt]]:
    """Do one transaction's work and return one receipt for each submission, in order.

    `counts` has the refusals that earlier units left to be written; what this unit leaves is staged
    there. Without it, every refusal is written.

    Raises SessionFenced if the fence finds no row. A submission that was collected under another
    epoch than the session's is refused as `fenced`, with everything that was to commit with it; the
    other submissions are not affected.
    """
    now = yield from _pass_fence(session, unit)
    live = [submission for submission in submissions if not submission.is_stale(session)]
    devices = DeviceBatch(now, counts or RefusalCounts())
    yield from devices.load(live)
    receipts = []
    for submission in submissions:
        judged = not submission.is_stale(session)
        results = devices.judge(submission) if judged else devices.refuse(submission, FENCED)
        receipts.append(Receipt(unit.number, now, results, judged))
    yield from devices.write(session)
    yield from _write_connections(live, now)
    yield from _end_cycles([submission.cycle for submission in live if submission.cycle], session)
    yield from devices.ledger.write()
    yield from append("append_quarantine", devices.ledger.quarantined)
    return receipts


def quarantine_unit(
    session: SessionRef, unit: UnitNumber, submission: Submission, error: UnitPoisoned
) -> Generator[Statement, Rows, list[Receipt]]:
    """Write the submission's updates to quarantine, under the fence and the number of a unit.

    Nothing else of the submission is written: the caller separates the rest from the updates first.
    A submission without updates is poison by itself, and leaves one row as well. A replay leaves
    none: its update has a row.
    """
    now = yield from _pass_fence(session, unit)
    detail = str(error)
    rows = [
        quarantine_row(submission.origin, update, Reason.DATA_ERROR.value, detail)
        for update in submission.updates
    ]
    if not submission.is_replay:
        yield from append("append_quarantine", rows or [quarantine_facts(submission, detail)])
    result = Result(Outcome.QUARANTINED, Reason.DATA_ERROR, detail=error.sqlstate)
    return [Receipt(unit.number, now, (result,) * len(submission.updates), facts_written=False)]


def _pass_fence(session: SessionRef, unit: UnitNumber) -> Generator[Statement, Rows, datetime]:
    rows = yield Statement("fence", (*session, *unit))
    if not rows:
        raise SessionFenced(f"shard {session.shard_id}, epoch {session.epoch}: no longer live")
    ((now, *_),) = rows
    return cast("datetime", now)


def _write_connections(submissions: Sequence[Submission], now: datetime) -> Steps:
    """Fold the facts of each submission, then its cursor, into the stored rows.

    A connection that is not configured has no row and is passed over.
    """
    concerned = {
        (fact.workspace_id, fact.provider_id) for item in submissions for fact in item.facts
    }
    concerned |= {
        (item.cursor.workspace_id, item.cursor.provider_id) for item in submissions if item.cursor
    }
    if not concerned:
        return
    rows = yield Statement("lock_connections", columns(sorted(concerned)))
    stored = map(ConnectionRow._make, rows)
    folds = {(row.workspace_id, row.provider_id): ConnectionFold(row) for row in stored}
    for submission in submissions:
        for fact in submission.facts:
            if fold := folds.get((fact.workspace_id, fact.provider_id)):
                fold.apply(fact)
        cursor = submission.cursor
        if cursor and (fold := folds.get((cursor.workspace_id, cursor.provider_id))):
            fold.advance(cursor, now)
    yield from append("write_connections", [fold.row for fold in folds.values()])
    yield from append("append_connection_events", edge_rows(folds.values()))


def _end_cycles(ends: Sequence[CycleEnd], session: SessionRef) -> Steps:
    """End the cycles, each with the counts of its workspace's devices as this unit leaves them."""
    if not ends:
        return
    ends = sorted(ends, key=lambda end: (*end.key[:2], end.cycle_id))  # as count_devices returns
    counted = yield Statement("count_devices", columns([end.key[:2] for end in ends]))
    rows = [
        CycleEndRow(
            workspace_id=end.key.workspace_id,
            cycle_id=end.cycle_id,
            ended_at=end.ended_at,
            outcome=end.outcome.value,
            summary=dump_json(end.summary),
            active_devices=devices.active,
            fresh_devices=devices.fresh,
            updated_devices=devices.updated,
        )
        for end, devices in zip(ends, map(CountedDevices._make, counted), strict=True)
    ]
    yield from append("end_cycles", rows, shard_id=session.shard_id, epoch=session.epoch)
