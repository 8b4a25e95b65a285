"""One tenant as the provider keeps it: its fleet, its open streams, its faults and its counts.

Owns the choice of answer for a request that has been admitted, faults included. Synchronous; the
server awaits.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from simulator import rfms, viriciti
from simulator.answer_forms import choose_form, dress
from simulator.chance import draw
from simulator.config import Vendor
from simulator.exchange import Request, VendorAnswer
from simulator.faults import (
    AnswerFault,
    FrameFault,
    answer_fault,
    frame_fault,
    is_abrupt,
    seconds_to_disconnect,
)
from simulator.frames import DATA_KINDS, NOISE
from simulator.rfms import RfmsFleet
from simulator.rfms_query import Refusal
from simulator.session import Ending
from simulator.stream import LiveStream
from simulator.windows import STATUSES, trouble_at

if TYPE_CHECKING:
    from simulator.config import Tenant
    from simulator.roster import Roster
    from simulator.session import StreamSession

_RESOURCES: Final = frozenset(
    {
        viriciti.ASSETS_PATH,
        viriciti.STATE_PATH,
        viriciti.LIVE_PATH,
        rfms.STATUSES_PATH,
        rfms.VEHICLES_PATH,
    }
)


@dataclass(slots=True)
class StreamLogEntry:
    """One stream connection in the log.

    `…_at` is the wall clock, `…_monotonic` the monotonic clock; None while the connection is open.
    """

    tenant: str
    number: int
    opened_at: float
    opened_monotonic: float
    closed_at: float | None = None
    closed_monotonic: float | None = None
    ending: str | None = None
    frames: int = 0


class SimulatedProvider:
    """The provider as one tenant meets it.

    `answer` is for requests whose credential was right. Elapsed seconds count from the simulator's
    start.
    """

    def __init__(self, tenant: Tenant, seed: int) -> None:
        self.tenant = tenant
        self.fleet: LiveStream | RfmsFleet = (
            LiveStream(tenant, seed)
            if tenant.vendor is Vendor.VIRICITI
            else RfmsFleet(tenant, seed)
        )
        self.sessions: set[StreamSession] = set()
        self.requests: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        self._answers = 0
        self._connections = 0

    @property
    def roster(self) -> Roster:
        return self.fleet.roster if isinstance(self.fleet, LiveStream) else self.fleet.log.roster

    @property
    def live(self) -> LiveStream:
        """The fleet of a stream provider's tenant; only such a tenant reaches a handshake."""
        assert isinstance(self.fleet, LiveStream)  # noqa: S101
        return self.fleet

    def tick(self, elapsed: float, wall: float) -> None:
        match self.fleet:
            case RfmsFleet():
                self.fleet.log.tick(elapsed, wall)
            case LiveStream():
                self.fleet.tick(elapsed, wall)
                is_in_trouble = self._trouble(elapsed) is not None
                for session in self.sessions:
                    session.flush()
                    if is_in_trouble:
                        session.end(Ending.CUT_BY_FAULT)
                    elif elapsed >= session.disconnect_at:
                        session.end(session.planned_ending)

    # Answers

    def latency(self, elapsed: float) -> float:
        faults = self.roster.faults
        return faults.latency if faults.is_active(elapsed) else 0.0

    def _trouble(self, elapsed: float) -> tuple[AnswerFault, float] | None:
        """Return the fault of every answer at this instant and its end, or None."""
        faults = self.roster.faults
        if not faults.windows or not faults.is_active(elapsed):
            return None
        found = trouble_at(faults.windows, elapsed)
        return None if found is None else (AnswerFault(str(STATUSES[found[0]])), found[1])

    def answer(self, request: Request, elapsed: float, wall: float) -> VendorAnswer | None:
        """Return the answer, or None if the connection is to be closed without one."""
        fault = self._draw_fault(elapsed)
        if fault is not None:
            self.injected[f"http_{fault.value}"] += 1
        if fault is AnswerFault.DROPPED:
            self._count(request, "dropped")
            return None
        answer = (
            self._refusal(fault, elapsed, wall)
            if fault is not None
            else self._true_answer(request, elapsed, wall)
        )
        self._count(request, str(answer.status))
        return answer

    def _draw_fault(self, elapsed: float) -> AnswerFault | None:
        self._answers += 1
        if not self.roster.faults.is_active(elapsed):
            return None
        trouble = self._trouble(elapsed)
        if trouble is not None:
            return trouble[0]
        return answer_fault(self.roster.faults, self.roster.seed, self._answers)

    def _count(self, request: Request, result: str) -> None:
        resource = request.path if request.path in _RESOURCES else "other"
        self.requests[f"{request.method} {resource} {result}"] += 1

    def _true_answer(self, request: Request, elapsed: float, wall: float) -> VendorAnswer:
        if isinstance(self.fleet, LiveStream):
            answer = viriciti.answer(self.fleet, request)
        else:
            answer = self.fleet.answer(request, wall)
            answer = self._perhaps_spoil(answer, elapsed) if answer.status == 200 else answer
        return self._perhaps_dress(answer, request, elapsed) if answer.status == 200 else answer

    def _perhaps_dress(
        self, answer: VendorAnswer, request: Request, elapsed: float
    ) -> VendorAnswer:
        """Return an answer with data, perhaps in a rare form that is legal.

        Lists of vehicles keep their form: they serve the configuration of a run.
        """
        faults, number = self.roster.faults, self._answers
        if request.path not in (viriciti.STATE_PATH, rfms.STATUSES_PATH):
            return answer
        if not faults.legal_forms or not faults.is_active(elapsed):
            return answer
        if draw(self.roster.seed, -6, number) >= faults.legal_forms:
            return answer
        form = choose_form(answer, request, number)
        self.injected[f"form_{form.value}"] += 1
        return dress(answer, form)

    def _perhaps_spoil(self, answer: VendorAnswer, elapsed: float) -> VendorAnswer:
        """Return the answer, perhaps spoilt: cut off, or replaced by JSON that is no object.

        On the stream the same faults hit single frames. The statuses of a spoilt answer are not
        counted as sent.
        """
        faults = self.roster.faults
        if not faults.is_active(elapsed):
            return answer
        fault = frame_fault(faults, self.roster.seed, -4, self._answers)
        if fault is FrameFault.MALFORMED:
            body = answer.body[: len(answer.body) * 2 // 3]
        elif fault is FrameFault.NON_OBJECT:
            body = NOISE[self._answers % len(NOISE)]
        else:
            return answer
        self.injected[f"answer_{fault.value}"] += 1
        return VendorAnswer(answer.status, body, answer.headers)

    def _refusal(self, fault: AnswerFault, elapsed: float, wall: float) -> VendorAnswer:
        """Return the refusal for an injected fault.

        A stream provider sends Retry-After. rFMS has no such header and says when the window
        resets.
        """
        status, wait = int(fault.value), self.roster.faults.retry_after
        trouble = self._trouble(elapsed)
        if trouble is not None:
            wait = min(wait, max(1.0, trouble[1] - elapsed))
        may_retry = fault in (AnswerFault.TOO_MANY, AnswerFault.AWAY)
        if self.tenant.vendor is Vendor.VIRICITI:
            return viriciti.refusal(status, "injected fault", wait if may_retry else None)
        headers = {}
        if fault is AnswerFault.TOO_MANY:
            headers = {
                "X-Rate-Limit-Remaining": "0",
                "X-Rate-Limit-Reset": str(int(wall + wait) + 1),
            }
        name = "RateExceeded" if fault is AnswerFault.TOO_MANY else "InjectedFault"
        return rfms.refuse(Refusal(status, name, "injected fault"), headers)

    # Streams

    def refuse_stream(self, elapsed: float, wall: float) -> VendorAnswer | None:
        """Return the injected refusal of a handshake, or None if the handshake may go on."""
        fault = self._draw_fault(elapsed)
        if fault is None:
            return None
        self.injected[f"handshake_{fault.value}"] += 1
        refusal = AnswerFault.AWAY if fault is AnswerFault.DROPPED else fault
        return self._refusal(refusal, elapsed, wall)

    def open_stream(
        self, session: StreamSession, elapsed: float, wall: float, monotonic: float
    ) -> StreamLogEntry:
        self._connections += 1
        self.sessions.add(session)
        self._plan_end(session, self._connections, elapsed)
        return StreamLogEntry(self.tenant.name, self._connections, wall, monotonic)

    def _plan_end(self, session: StreamSession, number: int, elapsed: float) -> None:
        faults, seed = self.roster.faults, self.roster.seed
        end = max(elapsed, faults.starts_at) + seconds_to_disconnect(faults, seed, number)
        session.disconnect_at = end if end < faults.ends_at else float("inf")
        abrupt = is_abrupt(faults, seed, number)
        session.planned_ending = Ending.CUT_BY_FAULT if abrupt else Ending.CLOSED_BY_FAULT

    def close_stream(
        self, session: StreamSession, entry: StreamLogEntry, wall: float, monotonic: float
    ) -> None:
        self.sessions.discard(session)
        entry.closed_at, entry.closed_monotonic = wall, monotonic
        entry.ending, entry.frames = str(session.ending), session.frames_written
        if session.ending in (Ending.CUT_BY_FAULT, Ending.CLOSED_BY_FAULT):
            self.injected[str(session.ending)] += 1

    def replan_ends(self, elapsed: float) -> None:
        """Plan the ends of the open streams anew, after a change of faults."""
        for number, session in enumerate(self.sessions):
            self._plan_end(session, self._connections + number, elapsed)

    # Counts

    def statistics(self, *, brief: bool) -> dict[str, Any]:
        counts: dict[str, Any] = {
            "provider": str(self.tenant.vendor),
            "vehicles": len(self.roster.buses),
            "requests": dict(self.requests),
            "faults_injected": dict(self.injected),
            "missed_turns": self.roster.missed_turns,
        }
        fleet = self.fleet
        if isinstance(fleet, RfmsFleet):
            generated, sent = dict(fleet.log.generated), dict(fleet.sent)
            counts |= {"statuses": generated, "statuses_kept": len(fleet.log.entries)}
            counts["statuses_sent"] = sum(sent.values())
            counts["sent_with_quirk"] = dict(fleet.sent_with_quirk)
            return counts if brief else counts | {"sent": sent}
        written = {str(kind): number for kind, number in fleet.written.items()}
        counts |= {
            "frames": written,
            "frames_discarded": fleet.discarded,
            "streams_open": len(self.sessions),
        }
        counts["sent_with_quirk"] = dict(fleet.written_with_quirk)
        counts["damaged"] = {
            f"{quirk} {label}": number for (quirk, label), number in fleet.damaged.items()
        }
        counts["readings_sent"] = sum(fleet.written[kind] for kind in DATA_KINDS)
        return counts if brief else counts | {"sent": self._sent_by_label(fleet)}

    def _sent_by_label(self, live: LiveStream) -> dict[str, dict[str, int]]:
        sent: dict[str, dict[str, int]] = {}
        for signal in live.signals:
            if signal.sent:
                sent.setdefault(signal.vehicle_id, {})[signal.label] = signal.sent
        return sent

    def last(self) -> dict[str, dict[str, Any]]:
        """Return the newest true value that was sent of each signal, by vehicle and label.

        As written on the wire, with its time in epoch milliseconds.
        """
        newest: dict[str, dict[str, Any]] = {}
        if isinstance(self.fleet, LiveStream):
            for signal in self.fleet.signals:
                if signal.last_ms:
                    newest.setdefault(signal.vehicle_id, {})[signal.label] = signal.reading(
                        signal.last_ms
                    )
            return newest
        for vin, instants in self.fleet.last_sent.items():
            newest[vin] = {
                name: self.fleet.log.reading(vin, name, at) for name, at in instants.items()
            }
        return newest

    def facts(self) -> dict[str, Any]:
        """Return the tenant's present faults, for the control interface."""
        return {"tenant": self.tenant.name, "faults": asdict(self.roster.faults)}
