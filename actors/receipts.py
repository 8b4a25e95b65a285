"""The receipts that the ingest actor owes, and the counts of those that it delivered.

Owns the counters of submissions and updates, and which resources still wait for a verdict. It must
never deliver a receipt twice, and a bug in the code that takes one must not keep the others back.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from actors.records import log_outcomes
from actors.statistics import ReceiptTotals
from actors.submission_spans import end_submission
from runtime.flag import Flag

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from structlog.typing import FilteringBoundLogger

    from domain.model import Receipt, Submission
    from domain.resource import Resource


class Receipts:
    """Verdicts owed and delivered, from a submission's acceptance into the mailbox on."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._submitted = 0
        self._pending = 0
        # submissions without a verdict, by resource; zeros are not kept
        self._unjudged: Counter[Resource] = Counter()
        self._judged = Flag()
        self._outcomes: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._conflicting = 0
        self._ahead = 0
        # Of resources that this shard ever owned: at most all workspaces.
        self._by_resource: dict[Resource, Counter[str]] = {}

    def owe(self, submission: Submission) -> None:
        """Count a submission that entered the mailbox."""
        self._submitted += len(submission.updates)
        self._pending += len(submission.updates)
        self.owe_one_more(submission)

    def owe_one_more(self, submission: Submission) -> None:
        """Count one verdict more for the submission's resource, because the submission was cut."""
        if submission.ownership is not None:
            self._unjudged[submission.ownership.resource] += 1

    def deliver_all(
        self, batch: Sequence[Submission], receipts: Sequence[Receipt], first_refusals: Set[str]
    ) -> None:
        for submission, receipt in zip(batch, receipts, strict=True):
            self.deliver(submission, receipt, first_refusals)

    def deliver(
        self, submission: Submission, receipt: Receipt, first_refusals: Set[str] = frozenset()
    ) -> None:
        """Count and log what became of a submission, and give its sender the receipt.

        `first_refusals` are the traces that the ledger names.
        """
        self._count(submission, receipt)
        log_outcomes(self._log, submission, receipt, is_named=submission.trace_id in first_refusals)
        end_submission(submission, receipt)
        if submission.resolve is not None:
            try:
                submission.resolve(receipt)
            except Exception:
                # A bug in the code that waits for this receipt. The other submissions of the unit
                # must get theirs all the same.
                self._log.exception("receipt_not_taken", trace_id=submission.trace_id)

    def _count(self, submission: Submission, receipt: Receipt) -> None:
        self._pending -= len(submission.updates)
        outcomes = Counter([result.outcome for result in receipt.results])
        self._outcomes.update(outcomes)
        self._reasons.update(
            [result.reason for result in receipt.results if result.reason is not None]
        )
        for result in receipt.results:
            if result.dropped or result.conflicts or result.ahead:
                self._dropped.update([item.reason for item in result.dropped])
                self._conflicting += len(result.conflicts)
                self._ahead += result.ahead
        if submission.ownership is not None:
            resource = submission.ownership.resource
            self._by_resource.setdefault(resource, Counter()).update(outcomes)
            self._count_judged(resource)

    def _count_judged(self, resource: Resource) -> None:
        self._unjudged[resource] -= 1
        if not self._unjudged[resource]:
            del self._unjudged[resource]
            self._judged.wake()

    async def wait_until_judged(self, resource: Resource) -> None:
        """Wait until every submission of this resource has its verdict.

        The caller's cancel scope is the deadline.
        """
        while self.has_unjudged(resource):
            await self._judged.wait()

    def has_unjudged(self, resource: Resource) -> bool:
        """Return whether a submission of this resource still waits for its verdict."""
        return resource in self._unjudged

    def totals(self) -> ReceiptTotals:
        return ReceiptTotals(
            submitted=self._submitted,
            outcomes=dict(self._outcomes),
            reasons=dict(self._reasons),
            dropped_readings=dict(self._dropped),
            conflicting_readings=self._conflicting,
            ahead_readings=self._ahead,
            pending=self._pending,
        )

    def by_resource(self) -> dict[Resource, dict[str, int]]:
        """Return the outcomes by the lease under which the updates were collected."""
        return {resource: dict(outcomes) for resource, outcomes in self._by_resource.items()}
