"""The ingest actor: mailbox -> units -> commit -> receipts. The only writer of telematics data.

Owns the mailbox and the batch in hand. The way of a batch is written in four files, from top to
bottom: `run` here fills the batch; actors/unit_committer.py commits it as a unit; the store drives
the unit's statements (storage/ingest.py, storage/unit/dialogue.py); actors/receipts.py delivers the
receipts.

It must never answer before the commit, never drop a batch because the database is away, and never
let one bad submission, or one locked row, hold up the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actors.deferred import DeferredSubmissions
from actors.lanes import LANES, lane_of
from actors.poison import SearchInterrupted, cut_at
from actors.receipts import Receipts
from actors.statistics import IngestStatistics
from actors.submission_spans import begin_submission, end_submission
from actors.unit_committer import UnitCommitter
from domain.deferral import claim_of
from ports.ingest import RowsLocked
from runtime.faults import EnvironmentFault
from runtime.logs import get_logger
from runtime.mailbox import LaneFull, Mailbox, MailboxClosed
from runtime.measures import UNMEASURED

if TYPE_CHECKING:
    from random import Random

    from actors.session import CurrentSession
    from domain.model import Submission
    from domain.resource import Resource
    from ports.ingest import IngestStore
    from runtime.measures import Measures

# Judging 2,000 updates blocks the loop for about 35 ms, so a unit holds half of that.
MAX_UNIT_UPDATES = 1_000


class IngestActor:
    """Commits waiting submissions in units; the next unit gathers while one commits.

    The batch in hand, the receipts owed and the counters live on this object, outside the
    restartable task: when `run` is started again after a crash, it goes on with the same batch.
    """

    def __init__(
        self,
        store: IngestStore,
        current: CurrentSession,
        *,
        random: Random,
        measures: Measures = UNMEASURED,
    ) -> None:
        self._store = store
        self._current = current
        self._mailbox: Mailbox[Submission] = Mailbox(LANES)
        self._batch: list[Submission] = []
        self._batch_since = 0.0
        log = get_logger("ingest")
        self._deferred = DeferredSubmissions(self._mailbox, log, random=random)
        self._receipts = Receipts(log)
        self._committer = UnitCommitter(
            store,
            current,
            self._mailbox,
            random=random,
            on_commit=self._deferred.note_commit,
            measures=measures,
        )

    # --- the way in

    def submit_nowait(self, submission: Submission) -> None:
        """Put it into its lane, or raise LaneFull or MailboxClosed. Never blocks."""
        if self._deferred.refuses(submission):
            raise LaneFull(
                "rows of this workspace are locked, and no more of its updates may wait for them"
            )
        self._mailbox.send_nowait(lane_of(submission), submission, submission.size)
        begin_submission(submission)
        self._receipts.owe(submission)

    async def submit(self, submission: Submission) -> None:
        """Wait for room in its lane, and put it there. Raises MailboxClosed.

        The caller's cancel scope is the deadline; cancelled means not submitted.
        """
        begin_submission(submission)  # before the wait for room, which is a part of it
        try:
            await self._deferred.wait_admitted(submission)
            await self._mailbox.send(lane_of(submission), submission, submission.size)
        except BaseException:
            end_submission(submission, None)
            raise
        self._receipts.owe(submission)

    # --- the loop

    async def run(self) -> None:
        """Commit until the mailbox is closed and empty."""
        while True:
            try:
                await self._fill_batch()
            except MailboxClosed:
                await self._committer.write_all_counts()
                return
            await self._commit_batch()

    async def _fill_batch(self) -> None:
        """Wait until there is a batch in hand.

        Deferred submissions whose rows are free come first. Then come those from the mailbox that
        need not wait for a lock or for a deferred submission.
        """
        while not self._batch:
            if trio.current_time() >= self._deferred.next_look_at:
                await self._look_at_locks()
            if trio.current_time() >= self._committer.counts_due_at:
                await self._committer.write_counts()
            self._batch, self._batch_since = self._deferred.take_ready(MAX_UNIT_UPDATES)
            if not self._batch:
                await self._receive()

    async def _receive(self) -> None:
        """Take a batch from the mailbox.

        Returns without one when it is time to look at the locks again, or to write refusals that
        were only counted. Raises MailboxClosed when the mailbox is closed and empty and nothing is
        deferred.
        """
        deadline = min(self._deferred.next_look_at, self._committer.counts_due_at)
        with trio.CancelScope(deadline=deadline):
            try:
                self._batch = await self._mailbox.receive_batch(MAX_UNIT_UPDATES)
            except MailboxClosed:
                if not len(self._deferred):
                    raise
                await trio.sleep_forever()  # until the deadline: time to look at the locks
        self._batch_since = trio.current_time()
        if len(self._deferred):
            self._batch = self._deferred.hold_back(self._batch, self._batch_since)

    async def _look_at_locks(self) -> None:
        try:
            found = await self._store.find_locked(self._deferred.locked)
        except EnvironmentFault as fault:
            self._committer.note_failure(fault)
        else:
            self._committer.note_success()
            self._deferred.note_look(found, self._current.session)
        self._deferred.look_later()

    async def _commit_batch(self) -> None:
        batch = self._batch  # `give_up` may replace self._batch meanwhile
        try:
            receipts = await self._committer.commit_batch(batch)
        except RowsLocked as fault:
            await self._defer(batch, fault)
        except SearchInterrupted as interrupted:
            # The rest is deferred at once. If it were tried again whole, it could be poisoned again
            # before it meets the lock.
            left = self._deliver_begun(batch, interrupted)
            await self._defer(left, interrupted.fault)
        else:
            self._batch = []
            self._receipts.deliver_all(batch, receipts, self._committer.take_first_refusals())

    async def _defer(self, batch: list[Submission], fault: RowsLocked) -> None:
        """Ask which rows are locked, and defer the batch.

        If none of the batch's rows is locked, the lock is on a table or on the session's row: then
        back off and keep the batch in hand.
        """
        claims = [claim_of(submission) for submission in batch]
        try:
            locked = await self._store.find_locked({row for claim in claims for row in claim.rows})
        except EnvironmentFault as another:
            await self._committer.back_off(another)
            return
        if not locked:
            await self._committer.back_off(fault)
        elif self._batch is batch:
            self._batch = []
            self._deferred.put_first(
                list(zip(batch, claims, strict=True)), locked, self._batch_since
            )

    def _deliver_begun(
        self, batch: list[Submission], interrupted: SearchInterrupted
    ) -> list[Submission]:
        """Deliver the receipts of what the search for poison committed; return the rest.

        The rest stays in hand.
        """
        done = len(interrupted.receipts)
        left = batch[done:]
        if self._batch is batch:
            self._batch = left
        told = self._committer.take_first_refusals()
        self._receipts.deliver_all(batch[:done], interrupted.receipts, told)
        if interrupted.begun is not None:
            first, left[0] = cut_at(left[0], interrupted.begun)
            self._receipts.owe_one_more(first)  # first part and rest are judged one by one
            self._receipts.deliver(first, interrupted.begun, told)
        return left

    # --- the way out

    def close(self) -> None:
        """Take nothing more.

        `run` returns when everything that waits is committed, deferred submissions included.
        """
        self._mailbox.close()
        self._deferred.close()

    def give_up(self) -> int:
        """Tell everyone who waits that there is no verdict; return how many submissions were left.

        For when the drain's budget is used up.
        """
        left = self._batch + self._deferred.take_all() + self._mailbox.take_all()
        self._batch = []
        for submission in left:
            # Answer only once: a unit in flight may still commit this submission.
            end_submission(submission, None)
            resolve, submission.resolve = submission.resolve, None
            if resolve is not None:
                resolve(None)
        return len(left)

    # --- what it knows of itself

    async def wait_until_judged(self, resource: Resource) -> None:
        """Wait until every submission of this resource has its verdict.

        The caller's cancel scope is the deadline.
        """
        await self._receipts.wait_until_judged(resource)

    def has_unjudged(self, resource: Resource) -> bool:
        """Return whether a submission of this resource still waits for its verdict."""
        return self._receipts.has_unjudged(resource)

    @property
    def is_failing(self) -> bool:
        """True from a failed commit until the next good one. The shard is not ready then."""
        return self._committer.is_failing

    @property
    def lanes_have_room(self) -> bool:
        """Return whether every lane of the mailbox has room. The shard is not ready without it."""
        return self._mailbox.has_room

    def oldest_waiting_seconds(self) -> float:
        """Return the age of the oldest submission without a verdict.

        Deferred submissions do not count, because they do not hold up others.
        """
        waiting = self._mailbox.oldest_waiting_seconds()
        if not self._batch:
            return waiting
        return max(waiting, trio.current_time() - self._batch_since)

    def statistics(self) -> IngestStatistics:
        counted = self._receipts.statistics()
        return IngestStatistics(
            submitted=counted.submitted,
            outcomes=counted.outcomes,
            reasons=counted.reasons,
            dropped_readings=counted.dropped_readings,
            conflicting_readings=counted.conflicting_readings,
            ahead_readings=counted.ahead_readings,
            by_resource=counted.by_resource,
            pending=counted.pending,
            units=self._committer.units,
            largest_unit=self._committer.largest_unit,
            failing=self.is_failing,
            oldest_waiting_seconds=self.oldest_waiting_seconds(),
            deferred=self._deferred.statistics(),
            mailbox=self._mailbox.statistics(),
            refusals=self._committer.refusal_statistics(),
        )
