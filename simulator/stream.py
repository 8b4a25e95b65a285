"""The live stream of one tenant: which vehicle reports, with which fault, to which sessions.

Owns the tenant's signals and the faults of frames. One call of `tick` a few dozen times a second
serves the whole fleet; there is no task per vehicle. Synchronous throughout: sessions write their
outboxes in tasks of their own. Vehicles report without listeners too, as real ones do: the provider
then knows the reading, but sends it to no session.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from simulator.distortions import is_damaged
from simulator.faults import FrameFault
from simulator.frames import DATA_KINDS, Frame, FrameKind, SimulatedSignal, noise_frame
from simulator.quirks import Quirk
from simulator.roster import HeldReadings, Roster

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from simulator.config import Tenant
    from simulator.fleet import Bus, VehicleSpec
    from simulator.reporting import Turn

MAX_IN_PIPELINE: Final = 1_000_000  # readings that the vendor keeps back; beyond it the oldest go


class _KeptBack(NamedTuple):
    """A reading that the vendor has and does not hand out before `release_at`."""

    release_at: float
    signal: SimulatedSignal
    time_ms: int


class FrameReceiver(Protocol):
    """A receiver of frames. `deliver` never blocks; a session that overflows ends itself."""

    def deliver(self, frame: Frame) -> None: ...


class LiveStream:
    """The provider's side of one fleet. Elapsed seconds count from the simulator's start."""

    def __init__(self, tenant: Tenant, seed: int) -> None:
        self.tenant = tenant
        self.roster = Roster(tenant, seed, _seconds_per_frame)
        self.written: Counter[FrameKind] = Counter()
        self.written_with_quirk: Counter[str] = Counter()
        # Data points that cannot be used, in frames and in answers of the state endpoint.
        self.damaged: Counter[tuple[Quirk, str]] = Counter()
        self.discarded = 0
        self.signals: list[SimulatedSignal] = []
        self._by_vehicle = [self._add_signals(bus) for bus in self.roster.buses]
        self._kept: HeldReadings[tuple[SimulatedSignal, int]] = HeldReadings()
        self._overtaken: dict[SimulatedSignal, int] = {}
        self._repeated: dict[SimulatedSignal, int] = {}
        self._pipeline: deque[_KeptBack] = deque(maxlen=MAX_IN_PIPELINE)

    def _add_signals(self, bus: Bus) -> tuple[SimulatedSignal, ...]:
        first = len(self.signals)
        self.signals += (
            SimulatedSignal(first + number, bus.spec.vehicle_id, label, bus.readers[label])
            for number, label in enumerate(bus.spec.labels)
        )
        return tuple(self.signals[first:])

    def signals_of(self, vehicle_id: str) -> tuple[SimulatedSignal, ...]:
        return self._by_vehicle[self.roster.vehicles[vehicle_id]]

    # Reporting

    def tick(self, elapsed: float, wall: float) -> None:
        """Deliver the frames that fell due. `wall` is the same instant in epoch seconds."""
        roster = self.roster
        held_back = roster.faults.held_back_seconds
        for turn in roster.turns(elapsed):
            time_ms = int((wall - (elapsed - turn.due)) * 1000)
            quirk = roster.quirk_of(turn.vehicle)
            for signal in self._reporting_signals(turn):
                if roster.late_seconds(turn.vehicle) is not None:
                    self._kept.keep(turn.vehicle, (signal, time_ms), elapsed)
                elif quirk is not None:
                    self._report_odd(signal, time_ms, quirk, turn.number)
                elif held_back:
                    self._pipeline.append(_KeptBack(elapsed + held_back, signal, time_ms))
                else:
                    self._report(signal, time_ms, roster.fault_of(turn, signal.index), turn.number)
        for signal, time_ms in self._kept.bursts(roster, elapsed):
            self._send(signal, time_ms, FrameKind.LATE)
        while self._pipeline and self._pipeline[0].release_at <= elapsed:
            kept = self._pipeline.popleft()
            self._send(kept.signal, kept.time_ms, FrameKind.LATE)

    def _reporting_signals(self, turn: Turn) -> Iterable[SimulatedSignal]:
        """Return the signal whose turn it is; all signals of a vehicle that sends all at once."""
        signals = self._by_vehicle[turn.vehicle]
        if not self.roster.sends_all_labels(turn.vehicle):
            signals = (signals[turn.number % len(signals)],)
        return [signal for signal in signals if not self.roster.has_stopped(turn, signal.label)]

    def _report(
        self, signal: SimulatedSignal, time_ms: int, fault: FrameFault | None, turn: int
    ) -> None:
        match fault:
            case FrameFault.OUT_OF_ORDER if signal not in self._overtaken:
                self._overtaken[signal] = time_ms
                return
            case FrameFault.FUTURE:
                ahead_ms = int(self.roster.faults.future_seconds * 1000)
                _deliver(signal, signal.frame_at(time_ms + ahead_ms, FrameKind.FUTURE))
                return
            case FrameFault.MALFORMED:
                # Only the frame is broken: the provider knows the reading, and its state endpoint
                # can fill the gap.
                signal.known_ms = max(signal.known_ms, time_ms)
                _deliver(signal, signal.broken_frame_at(time_ms))
                return
            case FrameFault.NON_OBJECT:
                _deliver(signal, noise_frame(turn))
            case _:
                pass
        self._send(signal, time_ms, FrameKind.DATA)
        if fault is FrameFault.DUPLICATE:
            self._send(signal, time_ms, FrameKind.DUPLICATE)
        overtaken = self._overtaken.pop(signal, None)
        if overtaken is not None:
            self._send(signal, overtaken, FrameKind.OUT_OF_ORDER)

    def _report_odd(self, signal: SimulatedSignal, time_ms: int, quirk: Quirk, turn: int) -> None:
        if quirk is Quirk.REPEATS:  # to the millisecond, which two clocks together would not give
            time_ms = self._repeated.setdefault(signal, time_ms)
        signal.known_ms = max(signal.known_ms, time_ms)
        if signal.sessions:
            _deliver(signal, signal.odd_frame_at(time_ms, quirk, turn))

    def _send(self, signal: SimulatedSignal, time_ms: int, kind: FrameKind) -> None:
        """Note a true reading at the provider, and deliver it to the sessions that subscribed."""
        signal.known_ms = max(signal.known_ms, time_ms)
        if signal.sessions:
            _deliver(signal, signal.frame_at(time_ms, kind))

    # Sessions

    def subscribe(self, session: FrameReceiver, wanted: Mapping[str, Iterable[str]]) -> None:
        """Replace this session's subscriptions. Labels that a vehicle does not have are ignored."""
        self.unsubscribe(session)
        for vehicle_id, labels in wanted.items():
            names = frozenset(labels)
            for signal in self.signals_of(vehicle_id):
                if signal.label in names:
                    signal.sessions = (*signal.sessions, session)

    def unsubscribe(self, session: FrameReceiver) -> None:
        for signal in self.signals:
            if session in signal.sessions:
                signal.sessions = tuple(other for other in signal.sessions if other is not session)

    def account(self, batch: Iterable[Frame]) -> None:
        """Count these frames, which have been handed to a socket."""
        for frame in batch:
            self.written[frame.kind] += 1
            if frame.kind is FrameKind.ODD and frame.signal is not None:
                self.written_with_quirk[str(frame.quirk)] += 1
                self.note_damage(frame.quirk, frame.signal.label)
            if frame.signal is not None and frame.kind in DATA_KINDS:
                frame.signal.written(frame.time_ms)

    def note_damage(self, quirk: Quirk | None, label: str) -> None:
        """Count a data point that was handed out, if it cannot be used."""
        if quirk is not None and is_damaged(quirk, label):
            self.damaged[quirk, label] += 1


def _seconds_per_frame(spec: VehicleSpec) -> float:
    return 1 / spec.rate if spec.rate > 0 and spec.labels else 0.0


def _deliver(signal: SimulatedSignal, frame: Frame) -> None:
    for session in signal.sessions:
        session.deliver(frame)
