"""Submissions that wait for locked rows, or must not overtake another submission that waits.

Owns which rows are known to be locked, which submissions wait for them and in which order, and when
to look again. The rule is domain.deferral. Does no I/O: the ingest actor asks the database and
passes the answer on.

**Bounds.** A submission that waits here counts against its lane of the mailbox, so a lane takes no
more than it does without locks. Each workspace has a bound of its own well below that; otherwise
one locked row would fill the lane for everybody. Past that bound, a submission that would only join
those that wait is refused: streams go on coalescing, polls wait within their deadline, and clients
get 503 with Retry-After. Looking again costs a few key look-ups every 0.2 to 2 s.

**Order.** The submissions here stand in an order in which they may commit. A batch that meets a
lock goes to the front: it follows nothing that waits here, otherwise it would not have been tried.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from actors.claims import workspaces_of
from actors.lanes import lane_of
from actors.statistics import DeferredStatistics
from domain.deferral import NO_CLAIM, Claim, claim_of, split_by_locks
from runtime.backoff import Backoff
from runtime.flag import Flag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence, Set
    from random import Random

    from structlog.typing import FilteringBoundLogger

    from domain.deferral import Key
    from domain.model import SessionRef, Submission
    from runtime.mailbox import Mailbox

MAX_WORKSPACE_UPDATES: Final = 1_000
# Also bounds submissions without updates: every cycle ends with one, however long a row is locked.
MAX_WORKSPACE_SIZE: Final = 2 * MAX_WORKSPACE_UPDATES
MIN_LOOK_SECONDS: Final = 0.2
MAX_LOOK_SECONDS: Final = 2.0
MAX_NAMED_ROWS: Final = 5  # in a log line
MAX_NAMED_WORKSPACES: Final = 100  # in the statistics, which travel with every heartbeat


class _Deferred(NamedTuple):
    submission: Submission
    claim: Claim
    workspace_ids: frozenset[str]
    since: float


class DeferredSubmissions:
    """The deferred submissions of one ingest actor."""

    def __init__(
        self, mailbox: Mailbox[Submission], log: FilteringBoundLogger, *, random: Random
    ) -> None:
        self._mailbox = mailbox
        self._log = log
        self._waiting: list[_Deferred] = []
        # their rows are free; they commit before anything new
        self._ready: deque[_Deferred] = deque()
        self._locked: dict[Key, str] = {}  # row -> the transaction that was seen to hold it
        # a new submission that follows one of these keys must wait, too
        self._preceding: set[Key] = set()
        # size of what is here, by workspace; zeros are not kept
        self._sizes: Counter[str] = Counter()
        self._left = Flag()  # woken when submissions leave
        self._closed = False
        self._backoff = Backoff(random, MIN_LOOK_SECONDS / 2, MAX_LOOK_SECONDS - MIN_LOOK_SECONDS)
        self._next_look_at = math.inf
        self._since: float | None = None  # when the present trouble began
        self._deferrals = 0
        self._deferrals_before = 0  # `_deferrals` when the present trouble began
        self._looks = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._ready)

    @property
    def locked(self) -> frozenset[Key]:
        """The rows to look at again."""
        return frozenset(self._locked)

    @property
    def next_look_at(self) -> float:
        """The time of the next look, on trio's clock; infinite while nothing waits."""
        return self._next_look_at

    # --- admission

    def refuses(self, submission: Submission) -> bool:
        """Return whether to refuse a submission that would only join those that wait.

        True if it would have to wait and one of its workspaces has reached its bound.
        """
        if not self._waiting or self._closed:
            return False
        enough = MAX_WORKSPACE_UPDATES if submission.updates else MAX_WORKSPACE_SIZE
        if all(self._sizes[name] < enough for name in workspaces_of(submission)):
            return False
        return self._must_wait(claim_of(submission))

    async def wait_admitted(self, submission: Submission) -> None:
        """Wait until `refuses` is False. The caller's cancel scope is the deadline."""
        while self.refuses(submission):
            await self._left.wait()

    def close(self) -> None:
        """Refuse nothing from now on, because the closed mailbox refuses everything."""
        self._closed = True
        self._left.wake()

    # --- in

    def hold_back(self, batch: Sequence[Submission], since: float) -> list[Submission]:
        """Keep the submissions of a new batch that must wait; return the others."""
        free = []
        for submission, claim in [(submission, claim_of(submission)) for submission in batch]:
            if self._must_wait(claim):
                self._waiting.append(self._enter(submission, claim, since))
                self._preceding |= claim.precedes
            else:
                free.append(submission)
        return free

    def put_first(
        self, batch: Sequence[tuple[Submission, Claim]], locked: Mapping[Key, str], since: float
    ) -> None:
        """Keep a batch that met these locks, before everything else that is here.

        Those of its submissions whose rows are free come out with `take_ready`.
        """
        if self._since is None:
            self._since, self._deferrals_before = trio.current_time(), self._deferrals
            self._log.warning(
                "ingest_deferred", rows=sorted(locked)[:MAX_NAMED_ROWS], locked=len(locked)
            )
        entries = [self._enter(submission, claim, since) for submission, claim in batch]
        self._locked.update(locked)
        self._waiting = [*entries, *self._ready, *self._waiting]
        self._ready.clear()
        self._divide()

    # --- out

    def note_look(
        self, asked: Set[Key], found: Mapping[Key, str], session: SessionRef | None
    ) -> None:
        """Note which locks a look at the rows `asked` has found. Other rows stay locked.

        A row that a different transaction holds by now counts as free. The locks on such a row come
        and go, and a unit that waits in line gets the row sooner than one that looks now and then.
        """
        self._looks += 1
        self._locked = {
            row: holder
            for row, holder in self._locked.items()
            if row not in asked or found.get(row) == holder
        }
        if session is not None:  # a submission that will be refused as fenced needs no row
            self._waiting = [
                entry._replace(claim=NO_CLAIM) if entry.submission.is_stale(session) else entry
                for entry in self._waiting
            ]
        self._divide()

    def look_later(self) -> None:
        """Choose the time of the next look."""
        delay = self._backoff.next_delay(MIN_LOOK_SECONDS)
        self._next_look_at = trio.current_time() + delay if self._waiting else math.inf

    @property
    def ready(self) -> Iterator[Submission]:
        """The submissions whose rows are free, in order."""
        return (entry.submission for entry in self._ready)

    def take_ready(
        self, max_size: int, admits: Callable[[Submission], bool]
    ) -> tuple[list[Submission], float]:
        """Return the next submissions whose rows are free, in order, and the time of the oldest.

        Since that time the oldest has waited. It is on trio's clock, and infinite when no
        submission is returned. The submissions have at most `max_size` together; a single larger
        one comes alone. Those that are not admitted are passed over.
        """
        taken: list[_Deferred] = []
        passed: deque[_Deferred] = deque()
        size = 0
        while self._ready and (not taken or size + self._ready[0].submission.size <= max_size):
            entry = self._ready.popleft()
            if admits(entry.submission):
                taken.append(entry)
                size += entry.submission.size
            else:
                passed.append(entry)
        self._ready.extendleft(reversed(passed))
        self._leave(taken)
        return [entry.submission for entry in taken], min(
            (entry.since for entry in taken), default=math.inf
        )

    def take_all(self) -> list[Submission]:
        """Remove and return everything, in order, because nothing more will be committed."""
        left = [*self._ready, *self._waiting]
        self._ready.clear()
        self._waiting.clear()
        self._divide()
        self._leave(left)
        return [entry.submission for entry in left]

    def note_commit(self) -> None:
        """Note that a unit was committed. If nothing is left here, log that the trouble is over."""
        if self._since is None or len(self):
            return
        self._log.info(
            "ingest_deferred_recovered",
            deferred_for_seconds=round(trio.current_time() - self._since, 3),
            deferrals=self._deferrals - self._deferrals_before,
        )
        self._since = None
        self._backoff.reset()

    # --- details

    def _must_wait(self, claim: Claim) -> bool:
        return not (
            claim.rows.isdisjoint(self._locked) and claim.follows.isdisjoint(self._preceding)
        )

    def _divide(self) -> None:
        free, self._waiting = split_by_locks(
            ((entry, entry.claim) for entry in self._waiting), self._locked
        )
        self._ready.extend(free)
        self._preceding = {key for entry in self._waiting for key in entry.claim.precedes}
        if not self._waiting:
            self._locked.clear()
            self._next_look_at = math.inf
        elif self._next_look_at == math.inf:
            self.look_later()

    def _enter(self, submission: Submission, claim: Claim, since: float) -> _Deferred:
        entry = _Deferred(submission, claim, workspaces_of(submission), since)
        self._deferrals += 1
        self._mailbox.set_aside(lane_of(submission), submission.size)
        for workspace_id in entry.workspace_ids:
            self._sizes[workspace_id] += submission.size
        return entry

    def _leave(self, entries: Sequence[_Deferred]) -> None:
        for submission, _, workspace_ids, _ in entries:
            self._mailbox.resume(lane_of(submission), submission.size)
            for workspace_id in workspace_ids:
                self._sizes[workspace_id] -= submission.size
                if not self._sizes[workspace_id]:
                    del self._sizes[workspace_id]
        if entries:
            self._left.wake()

    def statistics(self) -> DeferredStatistics:
        ages = self._ages()
        return DeferredStatistics(
            submissions=len(self),
            updates=sum(len(entry.submission.updates) for entry in (*self._ready, *self._waiting)),
            locked_rows=len(self._locked),
            deferrals=self._deferrals,
            looks=self._looks,
            oldest_seconds=max(ages.values(), default=0.0),
            oldest_seconds_by_workspace=dict(
                sorted(ages.items(), key=_by_age)[:MAX_NAMED_WORKSPACES]
            ),
        )

    def _ages(self) -> dict[str, float]:
        """Return for how many seconds each workspace has had something here."""
        now = trio.current_time()
        ages: dict[str, float] = {}
        for entry in (*self._ready, *self._waiting):
            for workspace_id in entry.workspace_ids:
                ages[workspace_id] = max(ages.get(workspace_id, 0.0), now - entry.since)
        return ages


def _by_age(item: tuple[str, float]) -> float:
    return -item[1]
