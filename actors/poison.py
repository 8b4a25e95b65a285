"""Committing around data that the database refuses: bisect, quarantine what is to blame, commit the rest in order.

Owns the search. It must never reorder updates, never lose one, and never spin: after the budget of transactions the
submissions that still fail go to quarantine whole.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from actors.ports import UnitPoisoned

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from domain.model import Receipt, Submission

    Commit = Callable[[Sequence[Submission]], Awaitable[Sequence[Receipt]]]
    Quarantine = Callable[[Submission, UnitPoisoned], Awaitable[Receipt]]

BUDGET = 32


class _Piece(NamedTuple):
    """A part of the submission at `position` of the batch."""

    position: int
    part: Submission


async def commit_around_poison(
    batch: Sequence[Submission], error: UnitPoisoned, commit: Commit, quarantine: Quarantine, *, budget: int = BUDGET
) -> Sequence[Receipt]:
    """One receipt per submission of a batch that failed as a whole with `error`.

    Depth first and left to right, so updates of one device reach the database in the order in which they came.
    """
    search = _Search(commit, quarantine, budget)
    pieces = [_Piece(position, submission) for position, submission in enumerate(batch)]
    await search.divide(pieces, error)
    return [_merge(search.receipts[position]) for position in range(len(batch))]


class _Search:
    def __init__(self, commit: Commit, quarantine: Quarantine, budget: int) -> None:
        self._commit = commit
        self._quarantine = quarantine
        self._budget = budget
        self.receipts: dict[int, list[Receipt]] = {}

    async def divide(self, pieces: list[_Piece], error: UnitPoisoned) -> None:
        """These pieces failed together: find the one to blame, or quarantine it when it is alone."""
        halves = _halves(pieces, whole=self._budget <= 0)
        if halves is None:
            (piece,) = pieces
            self._keep(piece, await self._quarantine(piece.part, error))
            return
        for half in halves:
            await self._try(half)

    async def _try(self, pieces: list[_Piece]) -> None:
        self._budget -= 1
        try:
            receipts = await self._commit([piece.part for piece in pieces])
        except UnitPoisoned as error:
            await self.divide(pieces, error)
        else:
            for piece, receipt in zip(pieces, receipts, strict=True):
                self._keep(piece, receipt)

    def _keep(self, piece: _Piece, receipt: Receipt) -> None:
        self.receipts.setdefault(piece.position, []).append(receipt)


def _halves(pieces: list[_Piece], *, whole: bool) -> list[list[_Piece]] | None:
    """Two parts of what failed, or None when nothing is left to divide. `whole`: submissions are not cut any more."""
    if len(pieces) > 1:
        middle = len(pieces) // 2
        return [pieces[:middle], pieces[middle:]]
    (piece,) = pieces
    parts = _cut(piece.part, whole=whole)
    return [[_Piece(piece.position, part)] for part in parts] if parts else None


def _cut(submission: Submission, *, whole: bool) -> tuple[Submission, Submission] | None:
    """Two submissions that together say the same. What commits with the data stays with the second, and comes apart
    from the last update, so that a cursor moves past data that went to quarantine instead of fetching it for ever.
    """
    count = len(submission.updates)
    if count == 0 or (not _has_facts(submission) and (whole or count == 1)):
        return None
    middle = count if whole else max(1, count // 2)
    first = replace(
        submission,
        updates=submission.updates[:middle],
        cursor=None,
        cycle=None,
        facts=(),
        confirmation=None,
        invalid=(),
    )
    return first, replace(submission, updates=submission.updates[middle:])


def _has_facts(submission: Submission) -> bool:
    return bool(
        submission.cursor or submission.cycle or submission.facts or submission.confirmation or submission.invalid
    )


def _merge(receipts: Sequence[Receipt]) -> Receipt:
    """The receipt of a submission that was committed in parts: that of its last part, with all results."""
    results = tuple(result for receipt in receipts for result in receipt.results)
    return receipts[-1]._replace(results=results)
