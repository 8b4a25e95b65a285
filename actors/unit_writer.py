"""One writer of the ingest actor: it takes a batch, commits it, and delivers its receipts.

Owns the batch in hand, which outlives the writer's task: when `run` is started again after a crash,
it goes on with the same batch. It must never take a submission of a workspace that another writer
has in hand, and never let go of a batch without a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from actors.poison import SearchInterrupted, cut_at
from domain.deferral import claim_of
from ports.ingest import RowsLocked
from runtime.faults import EnvironmentFault
from runtime.mailbox import MailboxClosed

if TYPE_CHECKING:
    from actors.claims import WorkspaceClaims
    from actors.commit_record import CommitRecord
    from actors.deferred import DeferredSubmissions
    from actors.receipts import Receipts
    from actors.session import CurrentSession
    from actors.unit_committer import UnitCommitter
    from domain.model import Submission
    from ports.ingest import IngestStore
    from runtime.mailbox import Mailbox

# Judging 2,000 updates blocks the loop for about 35 ms, so a unit holds half of that.
MAX_UNIT_UPDATES: Final = 1_000
# The first writer takes whatever waits; another one helps when so much waits. With less, units
# would become small, and small units cost more an update than another writer gains.
MIN_SHARED_UPDATES: Final = 500
LOOK_AGAIN_SECONDS: Final = 0.05  # for what may be taken, while another writer has its workspaces


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedByWriters:
    """What the writers of one ingest actor work on together."""

    store: IngestStore
    current: CurrentSession
    mailbox: Mailbox[Submission]
    deferred: DeferredSubmissions
    claims: WorkspaceClaims
    receipts: Receipts
    record: CommitRecord


class UnitWriter:
    """Commits waiting submissions, one unit at a time, beside the other writers."""

    def __init__(self, number: int, shared: SharedByWriters, committer: UnitCommitter) -> None:
        self._number = number
        self._store = shared.store
        self._current = shared.current
        self._mailbox = shared.mailbox
        self._deferred = shared.deferred
        self._claims = shared.claims
        self._receipts = shared.receipts
        self._record = shared.record
        self.committer = committer
        self._batch: list[Submission] = []
        self._batch_since = 0.0
        self._min_size = 1 if number == 0 else MIN_SHARED_UPDATES
        self._must_stop = False
        self._idle: trio.CancelScope | None = None

    async def run(self) -> None:
        """Commit until the mailbox is closed and empty, or `stop` is called."""
        while not self._must_stop:
            try:
                await self._fill_batch()
            except MailboxClosed:
                return
            if self._batch and not await self._commit_batch():
                return

    def may_run(self) -> None:
        """Take back an earlier `stop`. Called before any writer runs: one of them may stop all."""
        self._must_stop = self.committer.must_stop = False

    def stop(self) -> None:
        """End `run` at the next moment at which it is known what is committed. Never blocks."""
        self._must_stop = self.committer.must_stop = True
        if self._idle is not None:
            self._idle.cancel()

    # --- taking a batch

    async def _fill_batch(self) -> None:
        """Wait until there is a batch in hand.

        Deferred submissions whose rows are free come first. Then come those from the mailbox that
        need not wait for a lock, for a deferred submission, or for another writer.
        """
        while not (self._batch or self._must_stop):
            if trio.current_time() >= self._deferred.next_look_at:
                await self._look_at_locks()
            if trio.current_time() >= self._record.counts_due_at:
                await self.committer.write_counts()
            self._take_ready()
            if not self._batch:
                await self._receive()

    def _take_ready(self) -> None:
        choice = self._claims.choose(self._number, shares=False)
        batch, since = self._deferred.take_ready(MAX_UNIT_UPDATES, choice)
        if batch:
            self._take_in_hand(batch, since)

    async def _receive(self) -> None:
        """Take a batch from the mailbox.

        Returns without one when it is time to look at the locks again, or to write refusals that
        were only counted, and when another writer has the workspaces of all that waits. Raises
        MailboxClosed when the mailbox is closed and empty and nothing is deferred.
        """
        if self._must_stop:
            return  # while it looked at the locks, or wrote counts
        with trio.CancelScope() as self._idle:
            self._idle.deadline = min(self._deferred.next_look_at, self._record.counts_due_at)
            try:
                await self._mailbox.wait_for(self._min_size)
            except MailboxClosed:
                if not len(self._deferred):
                    raise
                await self._claims.wait_released()  # or until it is time to look at the locks
            if not self._take_waiting() and self._mailbox.queued_size:
                self._idle.deadline = min(
                    self._idle.deadline, trio.current_time() + LOOK_AGAIN_SECONDS
                )
                await self._claims.wait_released()

    def _take_waiting(self) -> bool:
        """Take what may be taken from the mailbox; return False if that was nothing."""
        waiting = self._mailbox.queued_size
        if waiting < self._min_size:
            return False
        choice = self._claims.choose(self._number, shares=waiting >= MIN_SHARED_UPDATES)
        for submission in self._deferred.ready:
            choice.pass_over(submission)
        batch = self._mailbox.take_nowait(MAX_UNIT_UPDATES, choice)
        if not batch:
            return False
        self._claims.note_walk(choice)
        since = trio.current_time()
        if len(self._deferred):
            batch = self._deferred.hold_back(batch, since)
        if batch:
            self._take_in_hand(batch, since)
        return True

    def _take_in_hand(self, batch: list[Submission], since: float) -> None:
        self._batch, self._batch_since = batch, since
        self._claims.claim(self._number, batch)

    def _let_go(self) -> None:
        """Empty the hand: all of the batch is committed, or waits elsewhere."""
        self._batch = []
        self._claims.release(self._number)
        self._record.note_success(self._number)

    async def _look_at_locks(self) -> None:
        self._deferred.look_later()  # also so that no other writer looks at the same time
        asked = frozenset(self._deferred.locked)  # another writer may defer more meanwhile
        try:
            found = await self._store.find_locked(asked)
        except EnvironmentFault as fault:
            self._record.note_failure(fault)
        else:
            self._record.note_success()
            self._deferred.note_look(asked, found, self._current.session)
        self._deferred.look_later()

    # --- committing it

    async def _commit_batch(self) -> bool:
        """Commit the batch in hand; return False if the committer stopped before a verdict."""
        batch = self._batch  # `give_up` may replace self._batch meanwhile
        try:
            receipts = await self.committer.commit_batch(batch)
        except RowsLocked as fault:
            await self._defer(batch, fault)
        except SearchInterrupted as interrupted:
            # The rest is deferred at once. If it were tried again whole, it could be poisoned again
            # before it meets the lock.
            left = self._deliver_begun(batch, interrupted)
            await self._defer(left, interrupted.fault)
        else:
            if receipts is None:
                return False
            self._let_go()
            self._receipts.deliver_all(batch, receipts, self.committer.take_first_refusals())
        return True

    async def _defer(self, batch: list[Submission], fault: RowsLocked) -> None:
        """Ask which rows are locked, and defer the batch.

        If none of the batch's rows is locked, the lock is on a table or on a row of the session:
        then back off and keep the batch in hand.
        """
        claims = [claim_of(submission) for submission in batch]
        try:
            locked = await self._store.find_locked({row for claim in claims for row in claim.rows})
        except EnvironmentFault as another:
            await self.committer.back_off(another)
            return
        if not locked:
            await self.committer.back_off(fault)
        elif self._batch is batch:
            self._deferred.put_first(
                list(zip(batch, claims, strict=True)), locked, self._batch_since
            )
            self._let_go()

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
        told = self.committer.take_first_refusals()
        self._receipts.deliver_all(batch[:done], interrupted.receipts, told)
        if interrupted.begun is not None:
            first, left[0] = cut_at(left[0], interrupted.begun)
            self._receipts.owe_one_more(first)  # first part and rest are judged one by one
            self._receipts.deliver(first, interrupted.begun, told)
        return left

    # --- what others ask

    def take_from_hand(self) -> list[Submission]:
        """Return the batch, and let the writer forget it. A unit in flight may still commit it."""
        left, self._batch = self._batch, []
        return left

    def oldest_waiting_seconds(self) -> float:
        """Return for how long the batch in hand has waited; 0.0 without one."""
        return trio.current_time() - self._batch_since if self._batch else 0.0
