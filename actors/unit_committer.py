"""Committing one batch: units are tried until the database gives a verdict.

Owns what an answer of the store means for the unit in hand: committed, fenced, poisoned, locked, or
unknown. It must never number two committed units alike within a session, and never believe receipts
whose commit was not confirmed.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVarTuple

import trio

from actors.poison import commit_around_poison
from actors.submission_spans import unit_of
from domain.refusals import WRITE_SECONDS
from ports.ingest import CommitUnknown, RowsLocked, SessionFenced, UnitPoisoned
from runtime.backoff import Backoff
from runtime.faults import EnvironmentFault
from runtime.logs import get_logger
from runtime.measures import UNMEASURED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence, Set
    from random import Random

    from actors.commit_record import CommitRecord
    from actors.session import CurrentSession
    from domain.model import Receipt, SessionRef, Submission
    from domain.refusals import RefusalCounts
    from ports.ingest import IngestStore
    from runtime.measures import Measures

Arguments = TypeVarTuple("Arguments")

RETRY_COUNTS_SECONDS: Final = 0.1  # between units of counts, so that the mailbox has its turn
_FAILURES: Final[Mapping[type[Exception], str]] = {
    SessionFenced: "fenced",
    CommitUnknown: "commit_unknown",
    RowsLocked: "locked",
    UnitPoisoned: "poisoned",
    EnvironmentFault: "database",
}
FAILURE_KINDS: Final = tuple(_FAILURES.values())


class _Stopped(Exception):
    """The committer was told to stop, and the unit in hand is known not to be committed."""


@contextmanager
def measured_attempt(measures: Measures) -> Iterator[None]:
    """Report how long an attempt took that was committed; of another one, why it was not."""
    began = trio.current_time()
    try:
        yield
    except tuple(_FAILURES) as failure:
        kind = next(name for known, name in _FAILURES.items() if isinstance(failure, known))
        measures.unit_failures(1, kind)
        raise
    measures.unit_seconds(trio.current_time() - began)


class UnitCommitter:
    """Commits the batches of one writer, one unit at a time."""

    def __init__(
        self,
        writer: int,
        store: IngestStore,
        current: CurrentSession,
        record: CommitRecord,
        counts: RefusalCounts,
        *,
        random: Random,
        on_commit: Callable[[], None],
        measures: Measures = UNMEASURED,
    ) -> None:
        """`on_commit` is called after each unit that was committed.

        `counts` has the refusals that are counted and not yet written; it is the writer's own.
        """
        self._writer = writer
        self._store = store
        self._current = current
        self._record = record
        self._on_commit = on_commit
        self._measures = measures
        self._log = get_logger("ingest")
        self._backoff = Backoff(random, base_seconds=0.1, cap_seconds=5.0)
        self._session: SessionRef | None = None
        self._unit = 0  # the number of the unit in hand in that session; 0: it has none yet
        self._counts = counts
        self._searches = False  # for poison: then the receipts of a part are known only here
        self.must_stop = False  # True: end before the next attempt, when nothing is in doubt

    async def commit_batch(self, batch: Sequence[Submission]) -> Sequence[Receipt] | None:
        """Commit a batch as one unit, or around the data that the database refuses.

        Returns one receipt for each submission; None if it stopped before a verdict. Raises
        RowsLocked when a lock was not given in time, and SearchInterrupted when that happened after
        a part of the batch was committed.
        """
        try:
            return await self.commit(batch)
        except _Stopped:
            return None
        except UnitPoisoned as error:
            self._log.warning(
                "unit_poisoned", sqlstate=error.sqlstate, submissions=len(batch), error=str(error)
            )
            # Only the batch is searched for poison: counts of earlier units wait.
            self._counts.writes_due, self._searches = False, True
            try:
                return await commit_around_poison(batch, error, self)
            finally:
                self._counts.writes_due, self._searches = True, False

    async def commit(self, batch: Sequence[Submission]) -> Sequence[Receipt]:
        """Commit a batch as one unit. Raises UnitPoisoned or RowsLocked."""
        with unit_of(batch):
            return await self._try_until_verdict(
                self._store.commit_unit, batch, self._counts, self._writer
            )

    async def write_counts(self) -> None:
        """Commit a unit that writes refusals which are due. Tries while the database is away."""
        self._record.counts_due_at = math.inf  # so that no other writer writes them, too
        try:
            await self.commit([])
        except _Stopped:
            self._record.counts_due_at = trio.current_time()
        except RowsLocked as fault:
            self._record.counts_due_at = trio.current_time() + RETRY_COUNTS_SECONDS
            self._record.note_success(self._writer)  # no batch is in its hand
            self._record.note_failure(fault)
        except UnitPoisoned as error:
            self._record.note_success(self._writer)
            # A bug: keys and details are made storable. It must not stop the ingest.
            self._log.error(
                "refusal_counts_lost", occurrences=self._counts.give_up_waiting(), error=str(error)
            )

    async def write_all_counts(self) -> None:
        """Write every refusal that is only counted, before the end. Rows that are locked stay."""
        self._counts.writes_all = True
        while waiting := self._counts.waiting:
            await self.write_counts()
            if self._counts.waiting >= waiting:
                self._log.warning("refusal_counts_not_written", occurrences=waiting)
                return

    async def quarantine(self, submission: Submission, error: UnitPoisoned) -> Receipt:
        """Put a submission into quarantine by a unit of its own, and return its receipt."""
        with unit_of([submission]):
            (receipt,) = await self._try_until_verdict(
                self._store.quarantine, submission, error, self._writer
            )
        return receipt

    async def _try_until_verdict(
        self,
        attempt: Callable[[SessionRef, int, *Arguments], Awaitable[Sequence[Receipt]]],
        *args: *Arguments,
    ) -> Sequence[Receipt]:
        """Call the store's `attempt` until the database gives a verdict, and return the receipts.

        Raises UnitPoisoned when the data was refused, and RowsLocked when a lock was not given in
        time. While the database is away, the same unit is tried for ever. SessionFenced means that
        another epoch took over: the unit is tried again under the next session. There, what the old
        session owned is refused and the rest is committed.
        """
        session = await self._begin_unit()
        while True:
            try:
                with self._current.writing(), self._unstaged_after():
                    try:
                        with measured_attempt(self._measures):
                            receipts = await attempt(session, self._unit, *args)
                    except CommitUnknown as unknown:
                        if not await self._was_committed(session):
                            continue
                        receipts = unknown.receipts
                    self._count_committed(receipts)
                    return receipts
            except SessionFenced:
                self._current.mark_fenced(session)
                session = await self._begin_unit(newer_than=session)
            except RowsLocked:
                raise
            except EnvironmentFault as fault:
                await self.back_off(fault)
                if self.must_stop and not self._searches:
                    raise _Stopped from fault

    @contextmanager
    def _unstaged_after(self) -> Iterator[None]:
        """Forget the refusals of a unit that was not committed, so that other writers go on."""
        try:
            yield
        finally:
            self._counts.unstage()

    async def _begin_unit(self, newer_than: SessionRef | None = None) -> SessionRef:
        """Wait for a live session, and return it. The unit has a number in it from then on.

        A number is kept until a unit was committed under it.
        """
        session = await self._current.wait_for_session(newer_than=newer_than)
        if session != self._session or not self._unit:
            self._session, self._unit = session, self._record.number_unit(session)
        return session

    async def _was_committed(self, session: SessionRef) -> bool:
        """Return whether the unit was committed whose connection was lost during COMMIT.

        It was if it is the last unit that this writer stored; then the receipts judged before are
        true. While the database is away this asks for ever.
        """
        while True:
            try:
                last_unit = await self._store.load_last_unit(session, self._writer)
            except EnvironmentFault as fault:
                await self.back_off(fault)
            else:
                self._log.warning(
                    "commit_was_unknown",
                    writer=self._writer,
                    unit=self._unit,
                    last_unit=last_unit,
                )
                return last_unit == self._unit

    async def back_off(self, fault: EnvironmentFault) -> None:
        """Note the failure, and sleep before the next attempt."""
        self._record.note_failure(fault, self._writer)
        await trio.sleep(self._backoff.next_delay(fault.retry_after))

    def _count_committed(self, receipts: Sequence[Receipt]) -> None:
        self._unit = 0
        self._counts.confirm()
        self._record.counts_due_at = self._next_write_of_counts()
        size = sum(len(receipt.results) for receipt in receipts)
        self._record.note_unit(size)
        self._record.note_success(self._writer)
        self._measures.unit_updates(size)
        self._backoff.reset()
        self._on_commit()

    def _next_write_of_counts(self) -> float:
        """Return when counts that wait are written if no other unit does it before."""
        if not self._counts.waiting:
            return math.inf
        more = self._counts.has_more_due
        return trio.current_time() + (RETRY_COUNTS_SECONDS if more else WRITE_SECONDS)

    def take_first_refusals(self) -> Set[str]:
        """Return the traces whose refusals the ledger has as new rows, each once."""
        return self._counts.take_first_traces()
