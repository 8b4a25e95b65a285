"""The ingest actor: mailbox -> units -> commit -> receipts. The only writer of telematics data.

Owns the mailbox and the writers. The way of a submission is written in five files, from top to
bottom: it waits here; a writer takes it into a batch (actors/unit_writer.py, by the rule of
actors/claims.py) and commits the batch as a unit (actors/unit_committer.py); the store drives the
unit's statements (storage/ingest.py, storage/unit/dialogue.py); actors/receipts.py delivers the
receipts.

It must never answer before the commit, never drop a batch because the database is away, and never
let one bad submission, or one locked row, hold up the others.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import trio

from actors.claims import WorkspaceClaims
from actors.commit_record import CommitRecord
from actors.deferred import DeferredSubmissions
from actors.lanes import LANES, lane_of
from actors.receipts import Receipts
from actors.statistics import IngestStatistics, IngestTotals
from actors.submission_spans import begin_submission, end_submission
from actors.unit_committer import UnitCommitter
from actors.unit_writer import SharedByWriters, UnitWriter
from domain.refusals import RefusalCounts
from ports.ingest import MAX_WRITERS, WRITERS
from runtime.logs import get_logger
from runtime.mailbox import LaneFull, Mailbox
from runtime.measures import UNMEASURED

if TYPE_CHECKING:
    from random import Random

    from actors.session import CurrentSession
    from domain.model import Submission
    from domain.resource import Resource
    from ports.ingest import IngestStore
    from runtime.measures import Measures


class IngestActor:
    """Commits waiting submissions in units; the next unit gathers while one commits.

    Units over different workspaces are in flight together, one for each writer. The batches in
    hand, the receipts owed and the counters live on objects outside the restartable task: when
    `run` is started again after a crash, it goes on with the same batches.
    """

    def __init__(
        self,
        store: IngestStore,
        current: CurrentSession,
        *,
        random: Random,
        measures: Measures = UNMEASURED,
        writers: int = WRITERS,
    ) -> None:
        """`writers`: how many units may be in flight together, at most MAX_WRITERS."""
        if not 1 <= writers <= MAX_WRITERS:
            raise ValueError(f"an ingest actor has 1 to {MAX_WRITERS} writers, not {writers}")
        log = get_logger("ingest")
        self._mailbox: Mailbox[Submission] = Mailbox(LANES)
        self._deferred = DeferredSubmissions(self._mailbox, log, random=random)
        self._receipts = Receipts(log)
        self._record = CommitRecord(lambda: self._mailbox.waiting_size)
        self._counts = RefusalCounts()
        shared = SharedByWriters(
            store=store,
            current=current,
            mailbox=self._mailbox,
            deferred=self._deferred,
            claims=WorkspaceClaims(writers),
            receipts=self._receipts,
            record=self._record,
        )

        def make_writer(number: int) -> UnitWriter:
            committer = UnitCommitter(
                number,
                store,
                current,
                self._record,
                RefusalCounts(beside=self._counts) if number else self._counts,
                random=random,
                on_commit=self._deferred.note_commit,
                measures=measures,
            )
            return UnitWriter(number, shared, committer)

        self._writers = [make_writer(number) for number in range(writers)]

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
        """Commit until the mailbox is closed and empty.

        A bug in one writer ends this once the others know what became of their units. They are not
        cancelled for it: a unit that is cut off in its COMMIT would be in doubt.
        """
        crashes: list[Exception] = []
        for writer in self._writers:
            writer.may_run()
        async with trio.open_nursery() as nursery:
            for writer in self._writers:
                nursery.start_soon(self._run_writer, writer, crashes)
        if len(crashes) > 1:
            raise ExceptionGroup("several writers have crashed", crashes)
        if crashes:
            raise crashes[0]
        await self._writers[0].committer.write_all_counts()

    async def _run_writer(self, writer: UnitWriter, crashes: list[Exception]) -> None:
        try:
            await writer.run()
        except Exception as crash:
            crashes.append(crash)
            for other in self._writers:
                other.stop()

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
        left = [submission for writer in self._writers for submission in writer.take_from_hand()]
        left += self._deferred.take_all() + self._mailbox.take_all()
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
        return self._record.is_failing

    @property
    def lanes_have_room(self) -> bool:
        """Return whether every lane of the mailbox has room. The shard is not ready without it."""
        return self._mailbox.has_room

    def oldest_waiting_seconds(self) -> float:
        """Return the age of the oldest submission without a verdict.

        Deferred submissions do not count, because they do not hold up others.
        """
        in_hand = [writer.oldest_waiting_seconds() for writer in self._writers]
        return max(self._mailbox.oldest_waiting_seconds(), *in_hand)

    def statistics(self) -> IngestStatistics:
        totals = self.totals()
        members = {part.name: getattr(totals, part.name) for part in fields(totals)}
        return IngestStatistics(**members, by_resource=self._receipts.by_resource())

    def totals(self) -> IngestTotals:
        """Return the statistics without the resources. Cheap, however many there are."""
        counted = self._receipts.totals()
        return IngestTotals(
            submitted=counted.submitted,
            outcomes=counted.outcomes,
            reasons=counted.reasons,
            dropped_readings=counted.dropped_readings,
            conflicting_readings=counted.conflicting_readings,
            ahead_readings=counted.ahead_readings,
            pending=counted.pending,
            units=self._record.units,
            largest_unit=self._record.largest_unit,
            failing=self.is_failing,
            oldest_waiting_seconds=self.oldest_waiting_seconds(),
            deferred=self._deferred.statistics(),
            mailbox=self._mailbox.statistics(),
            refusals=self._counts.statistics(),
        )
