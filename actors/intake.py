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

import orjson

from actors.readability import Readability
from actors.refusals import RefusalKind, Refusals
from actors.scrubbing import scrub_readings
from actors.statistics import FrameStatistics
from actors.submissions import make_update
from domain.coalesce import CoalescingBuffer
from domain.model import (
    MAX_UPDATES_PER_SUBMISSION,
    ConnectionFact,
    FaultClass,
    Reason,
    Submission,
)
from domain.order import AHEAD_TOLERANCE
from domain.signals import InvalidValue, check_value
from runtime.scrubbing import Scrubber

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from actors.fleet import FleetView
    from domain.coalesce import Merged
    from domain.model import CanonicalUpdate, Device, Reading
    from ports.providers import FrameVerdict
    from runtime.clock import SharedClock

FUTURE_GUARD = timedelta(minutes=5)
SAME_ARRIVAL_SECONDS = 1.0
_NEVER_AHEAD = AHEAD_TOLERANCE - timedelta(seconds=SAME_ARRIVAL_SECONDS)


class FrameIntake:
    """Counts every frame once.

    Keeps the newest readings until they are taken out as a submission.
    """

    def __init__(self, provider_id: str, view: FleetView, clock: SharedClock) -> None:
        self._provider_id = provider_id
        self._view = view
        self._clock = clock
        self.buffer = CoalescingBuffer(
            view.devices_of(provider_id), instant_of=clock.at, refuse=self._refuse_reading
        )
        self.received = 0
        self.merged = 0
        self.malformed = 0
        self.ignored: Counter[str] = Counter()
        self.faults: Counter[FaultClass] = Counter()
        self._reported = 0  # frames named in a lifecycle record so far
        self._refusals = Refusals(view.workspace_id, provider_id, clock)
        self._readability = Readability()
        self._horizon = clock.now() + FUTURE_GUARD
        self.in_hand = 0
        self.scrubber = Scrubber()  # of the open connection, else of the last one

    def take_all(
        self,
        interpret: Callable[[str | bytes], FrameVerdict],
        frames: Sequence[str | bytes],
        received: float,
    ) -> list[FrameVerdict]:
        """Count and merge frames that came together. The hot path of the whole service.

        Returns the verdicts of frames that are malformed or report an error. `received` is the
        frames' monotonic time. A frame on which `interpret` crashes is counted; the others are
        taken all the same, and then the first crash is raised.
        """
        bad: list[FrameVerdict] = []
        crash: Exception | None = None
        begun = 0
        self.in_hand = 1
        try:
            for frame in frames:
                begun += 1
                try:
                    verdict = interpret(frame)
                except Exception as error:
                    crash = crash or error
                    self._note_crash(frame, received)
                    continue
                if verdict[0] is not None and verdict[1]:
                    self._take_readings(verdict[0], verdict[1], frame, received)
                elif self._note_empty(verdict, frame, received):
                    bad.append(verdict)
        finally:
            self.received += begun
        self.in_hand = 0
        if crash is not None:
            raise crash
        return bad

    def _take_readings(
        self,
        external_id: str,
        readings: tuple[Reading, ...],
        frame: str | bytes,
        received: float,
    ) -> None:
        """Count and merge a frame with readings."""
        horizon = self._horizon
        for reading in readings:
            if reading[2] > horizon and self._is_future(reading):
                self._refuse_future(external_id, reading, frame, received)
                self.ignored["future_timestamp"] += 1
                return
        if self.buffer.merge(external_id, readings, received):
            self.merged += 1
        else:
            self.ignored["too_many_unknown_devices"] += 1

    def _is_future(self, reading: Reading) -> bool:
        """Return whether a suspect reading is in the future, by a new horizon.

        The old horizon stands still while nothing is flushed, perhaps for long.
        """
        self._horizon = self._clock.now() + FUTURE_GUARD
        return reading[2] > self._horizon

    # --- refusals

    def _refuse_future(
        self, external_id: str, reading: Reading, frame: str | bytes, received: float
    ) -> None:
        """Refuse a frame as acceptance would.

        Its readings must not enter the buffer: there they would stand as the newest and push good
        ones out.
        """
        refusal = RefusalKind(Reason.FUTURE_TIMESTAMP, external_id, reading[0])
        self._refuse(refusal, "observed in the future", frame, received)

    def _refuse_reading(self, external_id: str, reading: Reading, received: float) -> None:
        """Refuse a reading that the buffer does not hand on, with the words of acceptance."""
        checked = check_value(reading[0], reading[1])
        if isinstance(checked, InvalidValue):
            refusal = RefusalKind(checked.reason, external_id, reading[0])
            self._refuse(refusal, f"{reading[0]}: {checked.why}", _sample_of(reading), received)

    def _refuse(
        self, refusal: RefusalKind, detail: str, sample: str | bytes, received: float
    ) -> None:
        devices = self._view.devices_of(self._provider_id)
        name = refusal.external_id
        if name is not None and name not in devices:
            spelled = self._view.spelling_of(self._provider_id).of(name)
            refusal = refusal._replace(external_id=spelled)
        self._refusals.add(refusal, detail, sample, received, devices, self.scrubber)

    def _note_crash(self, frame: str | bytes, received: float) -> None:
        """Count a frame on which the interpreter crashed, and keep it as a sample."""
        self.malformed += 1
        detail = "the interpreter crashed on this frame"
        self._refuse(RefusalKind(Reason.MALFORMED), detail, frame, received)

    def _note_empty(self, verdict: FrameVerdict, frame: str | bytes, received: float) -> bool:
        """Count a frame without readings of its own. A refused one is held against its vehicle.

        Return whether it is malformed or reports an error.
        """
        is_bad = verdict.malformed is not None or verdict.fault is not None
        merged = [self._take_part(part, frame, received) for part in verdict.parts]
        if any(merged):
            self.merged += 1
            return is_bad
        if not verdict.parts:
            self._refuse_verdict(verdict, frame, received)
        if verdict.malformed is not None:
            self.malformed += 1
        else:
            self.ignored[verdict.ignored or "no_readings"] += 1
        return is_bad

    def _take_part(self, part: FrameVerdict, frame: str | bytes, received: float) -> bool:
        """Take one of several data points of a frame; return whether it was merged."""
        if not part.readings or part.external_id is None:
            self._refuse_verdict(part, frame, received)
            return False
        for reading in part.readings:
            if reading[2] > self._horizon and self._is_future(reading):
                self._refuse_future(part.external_id, reading, frame, received)
                return False
        return self.buffer.merge(part.external_id, part.readings, received)

    def _refuse_verdict(self, verdict: FrameVerdict, frame: str | bytes, received: float) -> None:
        external_id = verdict.external_id
        if verdict.fault is not None:
            self.faults[verdict.fault] += 1
            refusal = RefusalKind(Reason.MALFORMED, external_id, fault=verdict.fault)
            detail = f"the provider reported an error ({verdict.fault})"
            self._refuse(refusal, detail, frame, received)
        elif verdict.malformed is not None:
            refusal = RefusalKind(Reason.MALFORMED, external_id, verdict.signal)
            self._refuse(refusal, verdict.malformed, frame, received)
            if external_id is None:
                self._readability.note_unreadable(verdict.malformed, received, self.merged)

    # --- towards the mailbox

    def next_submission(self, opened_before: float) -> Submission | None:
        """Return the devices whose window opened before this monotonic instant, at most 500.

        None when there is nothing. Refusals have a window, too; when it is over they go to the
        ledger, at most 500 items at a time.
        """
        self._horizon = self._clock.now() + FUTURE_GUARD
        devices = self._view.devices_of(self._provider_id)
        merged = self.buffer.drain(MAX_UPDATES_PER_SUBMISSION, opened_before=opened_before)
        invalid = self._refusals.take(opened_before, devices)
        facts = self._facts()
        if not (merged or invalid or facts):
            return None
        trace_id = uuid.uuid4().hex
        # Frames that came together have one arrival, and often a whole flush has.
        instants = {received: self._clock.at(received) for received in {one[2] for one in merged}}
        updates = tuple(
            [
                self._to_update(item, devices.get(item[0]), instants[item[2]], trace_id)
                for item in merged
            ]
        )
        return Submission(
            origin="stream",
            trace_id=trace_id,
            updates=updates,
            ownership=self._view.ownership,
            invalid=invalid,
            facts=facts,
        )

    def _to_update(
        self, merged: Merged, device: Device | None, received_at: datetime, trace_id: str
    ) -> CanonicalUpdate:
        """Return the update of one device, without the connection's secret.

        Names and texts that the provider chose pass the scrubber. The name of a known device is
        ours.
        """
        external_id = merged.external_id
        if device is None:
            external_id = self._view.spelling_of(self._provider_id).of(external_id)
            device = self._view.devices_of(self._provider_id).get(external_id)
        name = self.scrubber.text(external_id) if device is None else external_id
        readings = scrub_readings(merged.readings, self.scrubber)
        address = (self._view.workspace_id, self._provider_id)
        update = make_update(address, name, device, readings, received_at, trace_id)
        arrivals = _arrivals_of(merged, received_at)
        return update if arrivals is None else update._replace(arrivals=arrivals)

    def _facts(self) -> tuple[ConnectionFact, ...]:
        """Return the fact that frames cannot be read, or can be read again, if it is due."""
        change = self._readability.take_change(self.merged)
        if change is None:
            return ()
        kind, received, detail = change
        at = self._clock.now() if received is None else self._clock.at(received)
        detail = detail and self.scrubber.text(detail)
        return (
            ConnectionFact(
                self._view.workspace_id, self._provider_id, kind, at, FaultClass.PROTOCOL, detail
            ),
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
            refused=self._refusals.counts(),
            pending=self.in_hand,
            buffer=self.buffer.statistics(),
        )


def _sample_of(reading: Reading) -> bytes:
    try:
        return orjson.dumps(reading)
    except TypeError:
        return repr(reading).encode("utf-8", "backslashreplace")


def _arrivals_of(merged: Merged, received_at: datetime) -> tuple[datetime, ...] | None:
    """Return each reading's own arrival; None if `received_at` may stand for all of them.

    It may if they are no further apart than a window usually is, and no reading is so far ahead of
    its arrival that the order depends on it. Instants of their own would cost several percent of an
    update.
    """
    _, readings, received, came = merged
    apart = received - min(came)
    if apart == 0:
        return None
    if apart <= SAME_ARRIVAL_SECONDS:
        not_ahead = received_at + _NEVER_AHEAD  # a reading up to this is ahead of no arrival
        if max([reading[2] for reading in readings]) <= not_ahead:
            return None
    return tuple([received_at - timedelta(0, received - arrival) for arrival in came])
