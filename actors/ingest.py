"""The ingest actor: mailbox -> units -> commit -> receipts. The only writer of telematics data.

Owns the mailbox, the unit numbers and the batch in hand. It must never answer before the commit,
never drop a batch because the database is away, and never let one bad submission, or one locked
row, hold up the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import trio

from actors.deferred import DeferredSubmissions
from actors.lanes import LANES, lane_of
from actors.poison import SearchInterrupted, commit_around_poison, cut_at
from actors.records import log_outcomes
from domain.deferral import claim_of
from domain.model import Receipt, SessionRef, Submission
from ports.ingest import CommitUnknown, RowsLocked, SessionFenced, UnitPoisoned
from runtime.backoff import Backoff
from runtime.faults import EnvironmentFault
from runtime.flag import Flag
from runtime.logs import EdgeLog, get_logger
from runtime.mailbox import LaneFull, Mailbox, MailboxClosed

if TYPE_CHECKING:
    from random import Random

    from actors.session import CurrentSession
    from ports.ingest import IngestStore

Attempt = Callable[[SessionRef, int], Awaitable[Sequence[Receipt]]]

# Judging 2,000 updates blocks the loop for about 35 ms, so a unit holds half of that.
MAX_UNIT_UPDATES = 1_000


class IngestActor:
    """Commits waiting submissions in units; the next unit gathers while one commits.

    The batch in hand, the receipts owed and the counters live on this object, outside the
    restartable task: when `run` is started again after a crash, it goes on with the same batch.
    """

    def __init__(self, store: IngestStore, current: CurrentSession, *, random: Random) -> None:
        self._store = store
        self._current = current
        self._mailbox: Mailbox[Submission] = Mailbox(LANES)
        self._batch: list[Submission] = []
        self._batch_since = 0.0
        self._numbered_session: SessionRef | None = None
        self._next_unit = 1
        self._backoff = Backoff(random, base_seconds=0.1, cap_seconds=5.0)
        self._log = get_logger("ingest")
        self._edge = EdgeLog(self._log, "ingest_commit")
        self._deferred = DeferredSubmissions(self._mailbox, self._log, random=random)
        self._submitted = 0
        self._pending = 0
        # submissions without a verdict, by resource; zeros are not kept
        self._unsettled: Counter[str] = Counter()
        self._settled = Flag()
        self._outcomes: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        # Of resources that this shard ever owned: at most all workspaces.
        self._by_resource: dict[str, Counter[str]] = {}
        self._units = 0
        self._largest_unit = 0

    # --- the way in

    def submit_nowait(self, submission: Submission) -> None:
        """Put it into its lane, or raise LaneFull or MailboxClosed. Never blocks."""
        if self._deferred.refuses(submission):
            raise LaneFull(
                "rows of this workspace are locked, and no more of its updates may wait for them"
            )
        self._mailbox.send_nowait(lane_of(submission), submission, submission.size)
        self._count_submitted(submission)

    async def submit(self, submission: Submission) -> None:
        """Wait for room in its lane, and put it there. Raises MailboxClosed.

        The caller's cancel scope is the deadline; cancelled means not submitted.
        """
        await self._deferred.wait_admitted(submission)
        await self._mailbox.send(lane_of(submission), submission, submission.size)
        self._count_submitted(submission)

    def _count_submitted(self, submission: Submission) -> None:
        self._submitted += len(submission.updates)
        self._pending += len(submission.updates)
        if submission.ownership is not None:
            self._unsettled[submission.ownership.resource] += 1

    # --- the loop

    async def run(self) -> None:
        """Commit until the mailbox is closed and empty."""
        while True:
            try:
                await self._fill_batch()
            except MailboxClosed:
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
            self._batch, self._batch_since = self._deferred.take_ready(MAX_UNIT_UPDATES)
            if not self._batch:
                await self._receive()

    async def _receive(self) -> None:
        """Take a batch from the mailbox.

        Returns without one when it is time to look at the locks again. Raises MailboxClosed when
        the mailbox is closed and empty and nothing is deferred.
        """
        with trio.CancelScope(deadline=self._deferred.next_look_at):
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
            self._edge.failed(fault, waiting=self._mailbox.waiting_size)
        else:
            self._edge.recovered()
            self._deferred.note_look(found, self._current.session)
        self._deferred.look_later()

    async def _commit_batch(self) -> None:
        batch = self._batch  # `give_up` may replace self._batch meanwhile
        try:
            receipts = await self._commit_or_bisect(batch)
        except RowsLocked as fault:
            await self._defer(batch, fault)
        except SearchInterrupted as interrupted:
            # The rest is deferred at once. If it were tried again whole, it could be poisoned again
            # before it meets the lock.
            await self._defer(self._settle_begun(batch, interrupted), interrupted.fault)
        else:
            self._batch = []
            self._settle_all(batch, receipts)

    async def _defer(self, batch: list[Submission], fault: RowsLocked) -> None:
        """Ask which rows are locked, and defer the batch.

        If none of the batch's rows is locked, the lock is on a table or on the session's row: then
        back off and keep the batch in hand.
        """
        claims = [claim_of(submission) for submission in batch]
        try:
            locked = await self._store.find_locked({row for claim in claims for row in claim.rows})
        except EnvironmentFault as another:
            await self._back_off(another)
            return
        if not locked:
            await self._back_off(fault)
        elif self._batch is batch:
            self._batch = []
            self._deferred.put_first(
                list(zip(batch, claims, strict=True)), locked, self._batch_since
            )

    def _settle_begun(
        self, batch: list[Submission], interrupted: SearchInterrupted
    ) -> list[Submission]:
        """Settle what the search for poison has committed; keep the rest in hand and return it."""
        done = len(interrupted.receipts)
        left = batch[done:]
        if self._batch is batch:
            self._batch = left
        self._settle_all(batch[:done], interrupted.receipts)
        if interrupted.begun is not None:
            first, left[0] = cut_at(left[0], interrupted.begun)
            if first.ownership is not None:
                # first part and rest are settled one by one
                self._unsettled[first.ownership.resource] += 1
            self._settle(first, interrupted.begun)
        return left

    def _settle_all(self, batch: Sequence[Submission], receipts: Sequence[Receipt]) -> None:
        for submission, receipt in zip(batch, receipts, strict=True):
            self._settle(submission, receipt)

    def _settle(self, submission: Submission, receipt: Receipt) -> None:
        self._pending -= len(submission.updates)
        outcomes = Counter([result.outcome for result in receipt.results])
        self._outcomes.update(outcomes)
        self._reasons.update(
            [result.reason for result in receipt.results if result.reason is not None]
        )
        if submission.ownership is not None:
            self._by_resource.setdefault(submission.ownership.resource, Counter()).update(outcomes)
            self._count_settled(submission.ownership.resource)
        log_outcomes(self._log, submission, receipt)
        if submission.resolve is not None:
            try:
                submission.resolve(receipt)
            except Exception:
                # A bug in the code that waits for this receipt. The other submissions of the unit
                # must get theirs all the same.
                self._log.exception("receipt_not_taken", trace_id=submission.trace_id)

    def _count_settled(self, resource: str) -> None:
        self._unsettled[resource] -= 1
        if not self._unsettled[resource]:
            del self._unsettled[resource]
            self._settled.wake()

    async def wait_until_judged(self, resource: str) -> None:
        """Wait until every submission of this resource has its verdict.

        The caller's cancel scope is the deadline.
        """
        while self.has_unjudged(resource):
            await self._settled.wait()

    def has_unjudged(self, resource: str) -> bool:
        """Return whether a submission of this resource still waits for its verdict."""
        return resource in self._unsettled

    async def _commit_or_bisect(self, batch: Sequence[Submission]) -> Sequence[Receipt]:
        try:
            return await self._commit(batch)
        except UnitPoisoned as error:
            self._log.warning(
                "unit_poisoned", sqlstate=error.sqlstate, submissions=len(batch), error=str(error)
            )
            return await commit_around_poison(batch, error, self._commit, self._quarantine)

    async def _commit(self, batch: Sequence[Submission]) -> Sequence[Receipt]:
        return await self._until_verdict(
            lambda session, unit: self._store.commit_unit(session, unit, batch)
        )

    async def _quarantine(self, submission: Submission, error: UnitPoisoned) -> Receipt:
        async def attempt(session: SessionRef, unit: int) -> Sequence[Receipt]:
            return await self._store.quarantine(session, unit, submission, error)

        (receipt,) = await self._until_verdict(attempt)
        return receipt

    async def _until_verdict(self, attempt: Attempt) -> Sequence[Receipt]:
        """Try one unit until the database gives a verdict, and return its receipts.

        Raises UnitPoisoned when the data was refused, and RowsLocked when a lock was not given in
        time. While the database is away, the same unit is tried for ever. SessionFenced means that
        another epoch took over: the unit is tried again under the next session. There, what the old
        session owned is refused and the rest is committed.
        """
        session = await self._begin_unit()
        while True:
            try:
                with self._current.writing():
                    receipts = await self._attempt_to_the_end(attempt, session)
            except SessionFenced:
                self._current.mark_fenced(session)
                session = await self._begin_unit(newer_than=session)
            except RowsLocked:
                raise
            except EnvironmentFault as fault:
                await self._back_off(fault)
            else:
                if receipts is not None:
                    self._unit_committed(receipts)
                    return receipts

    async def _attempt_to_the_end(
        self, attempt: Attempt, session: SessionRef
    ) -> Sequence[Receipt] | None:
        """Make one attempt, and find out whether a commit without an answer was applied.

        None if the commit was not applied; the caller retries.
        """
        try:
            return await attempt(session, self._next_unit)
        except CommitUnknown as unknown:
            return unknown.receipts if await self._was_committed(session) else None

    async def _begin_unit(self, newer_than: SessionRef | None = None) -> SessionRef:
        session = await self._current.wait_for_session(newer_than=newer_than)
        if session != self._numbered_session:
            self._numbered_session, self._next_unit = session, 1
        return session

    async def _was_committed(self, session: SessionRef) -> bool:
        """Return whether the unit was committed whose connection was lost during COMMIT.

        It was if it is the last unit stored; then the receipts judged before are true. While the
        database is away this asks for ever.
        """
        while True:
            try:
                last_unit = await self._store.load_last_unit(session)
            except EnvironmentFault as fault:
                await self._back_off(fault)
            else:
                self._log.warning("commit_was_unknown", unit=self._next_unit, last_unit=last_unit)
                return last_unit == self._next_unit

    async def _back_off(self, fault: EnvironmentFault) -> None:
        self._edge.failed(fault, waiting=self._mailbox.waiting_size)
        await trio.sleep(self._backoff.next_delay(fault.retry_after))

    def _unit_committed(self, receipts: Sequence[Receipt]) -> None:
        self._next_unit += 1
        self._units += 1
        self._largest_unit = max(
            self._largest_unit, sum(len(receipt.results) for receipt in receipts)
        )
        self._edge.recovered()
        self._backoff.reset()
        self._deferred.note_commit()

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
            # Answer only once: a unit in flight may still commit and settle this submission.
            resolve, submission.resolve = submission.resolve, None
            if resolve is not None:
                resolve(None)
        return len(left)

    # --- what it knows of itself

    @property
    def is_failing(self) -> bool:
        """True from a failed commit until the next good one. The shard is not ready then."""
        return self._edge.is_failing

    @property
    def lanes_have_room(self) -> bool:
        """Whether every lane of the mailbox has room. The shard is not ready without it."""
        return self._mailbox.has_room

    def oldest_waiting_seconds(self) -> float:
        """Return the age of the oldest submission without a verdict.

        Deferred submissions do not count, because they do not hold up others.
        """
        waiting = self._mailbox.oldest_waiting_seconds()
        if not self._batch:
            return waiting
        return max(waiting, trio.current_time() - self._batch_since)

    def statistics(self) -> dict[str, Any]:
        """Return counters, ages and what waits.

        `submitted` equals the sum of `outcomes` plus `pending`, exactly, whenever the loop is
        between two units.
        """
        return {
            "submitted": self._submitted,
            "outcomes": dict(self._outcomes),
            "reasons": dict(self._reasons),
            "by_resource": {
                resource: dict(outcomes) for resource, outcomes in self._by_resource.items()
            },
            "pending": self._pending,
            "units": self._units,
            "largest_unit": self._largest_unit,
            "failing": self.is_failing,
            "oldest_waiting_seconds": self.oldest_waiting_seconds(),
            "deferred": self._deferred.statistics(),
            "mailbox": self._mailbox.statistics(),
        }
