"""What one stream did since it last said so: one log record a minute, for the default level.

Owns that record's counts and fields. What each submission did is logged at `debug`. Pure: it logs
nothing and reads no clock.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from actors.records import count_refusals

if TYPE_CHECKING:
    from domain.model import Receipt, Submission

SAY_EVERY_SECONDS: Final = 60.0
NAMED_TRACES: Final = 3


class Activity(NamedTuple):
    """What a stream did in so many seconds: frames, and updates by what became of them.

    `trace_ids` are those of the newest submissions.
    """

    seconds: float
    frames: int
    handed_over: int
    accepted: int
    refused: dict[str, int]
    trace_ids: list[str]


class StreamActivity:
    """The counts of one stream since its last record. `now` is monotonic."""

    def __init__(self) -> None:
        self._said_at: float | None = None
        self._frames = 0  # as of the last record
        self._handed_over = self._accepted = 0
        self._refused: Counter[str] = Counter()
        self._traces: deque[str] = deque(maxlen=NAMED_TRACES)

    def note_submission(self, submission: Submission) -> None:
        """Note updates that are handed over to be stored."""
        self._handed_over += len(submission.updates)
        self._traces.append(submission.trace_id)

    def note_receipt(self, receipt: Receipt | None) -> None:
        """Note what became of a submission. None says that there is no verdict."""
        if receipt is None:
            return
        refused = count_refusals(receipt)
        self._refused.update(refused)
        self._accepted += len(receipt.results) - refused.total()

    def take_due(self, now: float, frames: int) -> Activity | None:
        """Return what the record says if it is due; None otherwise.

        A minute in which nothing happened has no record. `frames` is how many were received since
        the process started.
        """
        if self._said_at is None:
            self._said_at = now
        return self.take(now, frames) if now - self._said_at >= SAY_EVERY_SECONDS else None

    def take(self, now: float, frames: int) -> Activity | None:
        """Return what the record says, however much time has passed; None for no activity."""
        activity = Activity(
            seconds=round(now - (self._said_at or now), 1),
            frames=frames - self._frames,
            handed_over=self._handed_over,
            accepted=self._accepted,
            refused=dict(self._refused),
            trace_ids=list(self._traces),
        )
        self._said_at, self._frames = now, frames
        self._handed_over = self._accepted = 0
        self._refused.clear()
        self._traces.clear()
        return activity if any(activity[1:]) else None
