"""Commit a batch around data that the database refuses: bisect, quarantine, commit the rest.

Owns the search. It must never reorder updates, never lose one, and never spin: when the budget of
transactions is used up, submissions that still fail go to quarantine whole. It does not wait for
locks: it stops and reports how far it came.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ports.ingest import RowsLocked, UnitPoisoned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.model import Receipt, Submission

BUDGET = 32


class Committer(Protocol):
    """Carries out what the search decides, each by a unit of its own. Both raise RowsLocked."""

    async def commit(self, batch: Sequence[Submission], /) -> Sequence[Receipt]:
        """Return one receipt for each submission. Raises UnitPoisoned."""

    async def quarantine(self, submission: Submission, error: UnitPoisoned, /) -> Receipt: ...


class _Piece(NamedTuple):
    """A part of the submission at `position` of the batch."""

    position: int
    part: Submission


class SearchInterrupted(Exception):
    """A lock was not given in time during the search.

    The batch is committed up to a point, in its order; the rest was not touched. `receipts` are
    those of the first submissions. If the next submission was cut, `begun` is the receipt of its
    first part; otherwise None.
    """

    def __init__(
        self, receipts: Sequence[Receipt], begun: Receipt | None, fault: RowsLocked
    ) -> None:
        super().__init__(str(fault))
        self.receipts = receipts
        self.begun = begun
        self.fault = fault


async def commit_around_poison(
    batch: Sequence[Submission],
    error: UnitPoisoned,
    committer: Committer,
    *,
    budget: int = BUDGET,
) -> Sequence[Receipt]:
    """Return one receipt per submission of a batch that failed as a whole with `error`.

    Raises SearchInterrupted. The search goes depth first and left to right, so updates of one
    device reach the database in the order in which they came.
    """
    search = _PoisonSearch(committer, budget)
    search.push([_Piece(position, submission) for position, submission in enumerate(batch)])
    try:
        await search.run(error)
    except RowsLocked as fault:
        done = search.next_position()
        begun = search.receipts.get(done)
        raise SearchInterrupted(
            search.receipts_before(done), _merge(begun) if begun else None, fault
        ) from fault
    return search.receipts_before(len(batch))


def cut_at(submission: Submission, begun: Receipt) -> tuple[Submission, Submission]:
    """Return the part of a submission that has its receipt, and the rest.

    Nobody waits for the first part. The receipt of the rest covers both.
    """
    first, rest = _part(submission, len(begun.results))
    resolve = submission.resolve
    if resolve is not None:

        def resolve_both(receipt: Receipt | None) -> None:
            resolve(receipt and _merge([begun, receipt]))

        rest.resolve = resolve_both
    return replace(first, resolve=None, span=None), rest


class _PoisonSearch:
    """Groups of pieces still to be committed; the last group is the next one."""

    def __init__(self, committer: Committer, budget: int) -> None:
        self._committer = committer
        self._budget = budget
        self._groups: list[list[_Piece]] = []
        self.receipts: dict[int, list[Receipt]] = {}

    def push(self, *groups: list[_Piece]) -> None:
        """Add groups to be committed next, in this order."""
        self._groups.extend(reversed(groups))

    def next_position(self) -> int:
        """Return the position in the batch of the next piece."""
        return self._groups[-1][0].position

    def receipts_before(self, position: int) -> list[Receipt]:
        """Return the receipts of the submissions before this position of the batch."""
        return [_merge(self.receipts[finished]) for finished in range(position)]

    async def run(self, error: UnitPoisoned) -> None:
        """Commit or quarantine every piece. `error` is the failure of the first group.

        Raises RowsLocked; the group that met the lock is then still to be done.
        """
        await self._divide(error)
        while self._groups:
            self._budget -= 1
            try:
                receipts = await self._committer.commit([piece.part for piece in self._groups[-1]])
            except UnitPoisoned as poisoned:
                await self._divide(poisoned)
            else:
                self._keep(receipts)

    async def _divide(self, error: UnitPoisoned) -> None:
        """Divide the next group, whose pieces failed together.

        A single piece that cannot be divided is to blame and goes to quarantine.
        """
        halves = _halves(self._groups[-1], whole=self._budget <= 0)
        if halves is None:
            (piece,) = self._groups[-1]
            self._keep([await self._committer.quarantine(piece.part, error)])
        else:
            self._groups.pop()
            self.push(*halves)

    def _keep(self, receipts: Sequence[Receipt]) -> None:
        for piece, receipt in zip(self._groups.pop(), receipts, strict=True):
            self.receipts.setdefault(piece.position, []).append(receipt)


def _halves(pieces: list[_Piece], *, whole: bool) -> list[list[_Piece]] | None:
    """Return two parts of a group that failed; None if it cannot be divided.

    `whole`: the updates of a submission are not divided any more.
    """
    if len(pieces) > 1:
        middle = len(pieces) // 2
        return [pieces[:middle], pieces[middle:]]
    (piece,) = pieces
    parts = _cut(piece.part, whole=whole)
    return [[_Piece(piece.position, part)] for part in parts] if parts else None


def _cut(submission: Submission, *, whole: bool) -> tuple[Submission, Submission] | None:
    """Return two submissions that together say the same; None if it cannot be cut.

    Everything that commits with the updates (cursor, cycle, facts, statements, invalid items)
    stays with the second. It is cut off even from the last update, so that a cursor moves past data
    that went to quarantine instead of fetching it for ever.
    """
    count = len(submission.updates)
    if count == 0 or (not _has_facts(submission) and (whole or count == 1)):
        return None
    return _part(submission, count if whole else max(1, count // 2))


def _part(submission: Submission, middle: int) -> tuple[Submission, Submission]:
    """Return the updates before `middle`, and everything else."""
    first = replace(
        submission,
        updates=submission.updates[:middle],
        cursor=None,
        cycle=None,
        facts=(),
        statements=(),
        invalid=(),
    )
    return first, replace(submission, updates=submission.updates[middle:])


def _has_facts(submission: Submission) -> bool:
    return bool(
        submission.cursor
        or submission.cycle
        or submission.facts
        or submission.statements
        or submission.invalid
    )


def _merge(receipts: Sequence[Receipt]) -> Receipt:
    """Return the receipt of a submission that was committed in parts.

    It is the receipt of the last part, with the results of all parts.
    """
    results = tuple(result for receipt in receipts for result in receipt.results)
    return receipts[-1]._replace(results=results)
