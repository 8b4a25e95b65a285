"""From frames to submissions: the synchronous half of a stream actor.

Owns the coalescing buffer and the frame counts. Never waits and never touches a socket, so that the
reader which calls it can keep up with any provider.

Identity: frames received = merged + ignored + malformed + pending.
"""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from actors.scrubbing import scrub_readings
from actors.statistics import FrameStatistics
from actors.submissions import make_update
from domain.coalesce import CoalescingBuffer
from domain.model import (
    MAX_SAMPLE_BYTES,
    MAX_UPDATES_PER_SUBMISSION,
    FaultClass,
    InvalidItem,
    Reason,
    Submission,
)
from runtime.scrubbing import Scrubber

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.fleet import FleetView
    from domain.model import CanonicalUpdate, Device, Reading
    from ports.providers import FrameVerdict
    from runtime.clock import SharedClock

FUTURE_GUARD = timedelta(minutes=5)


class FrameIntake:
    """Counts every frame once.

    Keeps the newest readings until they are taken out as a submission.
    """

    def __init__(self, provider_id: str, view: FleetView, clock: SharedClock) -> None:
        self._provider_id = provider_id
        self._view = view
        self._clock = clock
        self.buffer = CoalescingBuffer(view.devices_of(provider_id))
        self.received = 0
        self.merged = 0
        self.malformed = 0
        self.ignored: Counter[str] = Counter()
        self.faults: Counter[FaultClass] = Counter()
        self._reported = 0  # frames named in a lifecycle record so far
        # Refused frames of the present window: count, first sample, detail. Errors that the
        # provider reported have entries of their own.
        self._bad: dict[tuple[Reason, FaultClass | None], tuple[int, bytes, str]] = {}
        self._bad_since = 0.0  # monotonic time of the window's first refused frame
        self._horizon = clock.now() + FUTURE_GUARD
        self._in_hand = 0
        self.scrubber = Scrubber()  # of the open connection, else of the last one

    def take(
        self, interpret: Callable[[str | bytes], FrameVerdict], frame: str | bytes, received: float
    ) -> FrameVerdict:
        """Count and merge one frame, and return its verdict. The hot path of the whole service.

        `received` is the frame's monotonic time. A crash of `interpret` is counted and raised.
        """
        self.received += 1
        self._in_hand = 1
        try:
            verdict = interpret(frame)
        except Exception:
            self._note_crash(frame, received)
            raise
        external_id, readings = verdict[0], verdict[1]
        if readings and external_id is not None:
            if any(reading[2] > self._horizon for reading in readings) and self._has_future(
                readings
            ):
                self._note_bad(
                    Reason.FUTURE_TIMESTAMP,
                    frame,
                    f"{external_id}: observed in the future",
                    received,
                )
                self.ignored["future_timestamp"] += 1
            elif self.buffer.merge(external_id, readings, received):
                self.merged += 1
            else:
                self.ignored["too_many_unknown_devices"] += 1
        else:
            self._note_empty(verdict, frame, received)
        self._in_hand = 0
        return verdict

    def _has_future(self, readings: tuple[Reading, ...]) -> bool:
        """Return whether a suspect reading is in the future, by a new horizon.

        The old horizon stands still while nothing is flushed, perhaps for long.
        """
        self._horizon = self._clock.now() + FUTURE_GUARD
        return any(reading[2] > self._horizon for reading in readings)

    def _note_crash(self, frame: str | bytes, received: float) -> None:
        """Count a frame on which the interpreter crashed, and keep it as a sample.

        The caller raises the error.
        """
        self._in_hand = 0
        self.malformed += 1
        self._note_bad(Reason.INVALID, frame, "the interpreter crashed on this frame", received)

    def _note_empty(self, verdict: FrameVerdict, frame: str | bytes, received: float) -> None:
        if verdict.fault is not None:
            self.faults[verdict.fault] += 1
            detail = f"the provider reported an error ({verdict.fault})"
            self._note_bad(Reason.INVALID, frame, detail, received, verdict.fault)
        elif verdict.malformed is not None:
            self._note_bad(Reason.INVALID, frame, verdict.malformed, received)
        if verdict.malformed is not None:
            self.malformed += 1
        else:
            self.ignored[verdict.ignored or "no_readings"] += 1

    def _note_bad(
        self,
        reason: Reason,
        frame: str | bytes,
        detail: str,
        received: float,
        fault: FaultClass | None = None,
    ) -> None:
        """Count a refused frame for the ledger, and keep the first as a sample.

        A future reading must not enter the buffer: it would stand there as the newest and push good
        ones out.
        """
        if not self._bad:
            self._bad_since = received
        count, sample, first_detail = self._bad.get((reason, fault), (0, b"", detail))
        if not count:
            sample = self.scrubber.sample(frame, MAX_SAMPLE_BYTES)
            first_detail = self.scrubber.text(detail)
        self._bad[reason, fault] = (count + 1, sample, first_detail)

    def next_submission(self, opened_before: float) -> Submission | None:
        """Return the devices whose window opened before this monotonic instant, at most 500.

        None when there is nothing. Refused frames have a window, too; when it is over they go to
        the ledger, one row and one sample for each reason, reports of errors apart.
        """
        self._horizon = self._clock.now() + FUTURE_GUARD
        merged = self.buffer.drain(MAX_UPDATES_PER_SUBMISSION, opened_before=opened_before)
        bad = self._take_bad() if self._bad and self._bad_since < opened_before else ()
        if not merged and not bad:
            return None
        address = (self._view.workspace_id, self._provider_id)
        devices = self._view.devices_of(self._provider_id)
        trace_id = uuid.uuid4().hex
        updates = tuple(
            self._to_update(
                address, external_id, devices.get(external_id), readings, received, trace_id
            )
            for external_id, readings, received in merged
        )
        return Submission(
            origin="stream",
            trace_id=trace_id,
            updates=updates,
            ownership=self._view.ownership,
            invalid=bad,
        )

    def _to_update(
        self,
        address: tuple[str, str],
        external_id: str,
        device: Device | None,
        readings: tuple[Reading, ...],
        received: float,
        trace_id: str,
    ) -> CanonicalUpdate:
        """Return the update of one device, without the connection's secret.

        Names and texts that the provider chose pass the scrubber. The name of a known device is
        ours.
        """
        name = self.scrubber.text(external_id) if device is None else external_id
        readings = scrub_readings(readings, self.scrubber)
        return make_update(address, name, device, readings, self._clock.at(received), trace_id)

    def _take_bad(self) -> tuple[InvalidItem, ...]:
        bad, self._bad = self._bad, {}
        return tuple(
            InvalidItem(
                self._view.workspace_id, self._provider_id, None, reason, detail, sample, count
            )
            for (reason, _), (count, sample, detail) in bad.items()
        )

    def newly_received(self) -> int:
        """Return how many frames came since the last call. For lifecycle records."""
        new = self.received - self._reported
        self._reported = self.received
        return new

    def statistics(self) -> FrameStatistics:
        return FrameStatistics(
            received=self.received,
            merged=self.merged,
            ignored=self.ignored.total(),
            ignored_by=dict(self.ignored),
            malformed=self.malformed,
            faults={str(fault): count for fault, count in self.faults.items()},
            pending=self._in_hand,
            buffer=self.buffer.statistics(),
        )
