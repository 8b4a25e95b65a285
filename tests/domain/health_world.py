"""A small world for the health rule: a provider, our side, a device, and one other device.

It plays troubles through in steps of 15 s and keeps the facts as storage would. After an absence of
ours, the first cycle starts half an interval later: missed starts are spread (FR-002). The world
also keeps the truth: which troubles there are, and which answers about the device have come. It
knows nothing of the rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from domain.health_facts import CollectorRecord, ConnectionRecord, HealthFacts
from domain.health_reason import Party
from domain.model import FaultClass
from tests.domain.fixtures import BUS_7, HARBOUR_LINES, NOW, TRAM_AND_BUS

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP = 15.0
OWN = "bus-7"
OTHER = "bus-8"
CALL_SECONDS = 4.0
ROSTER_EVERY = 1800.0

# Every trouble that can come, with the party at fault.
TROUBLES = {
    "collector_away": Party.OURS,
    "misconfigured": Party.OURS,
    "credentials": Party.CUSTOMER,
    "switched_off": Party.CUSTOMER,
    "left_out": Party.CUSTOMER,
    "outage": Party.PROVIDER,
    "every_second_call_fails": Party.PROVIDER,
    "reconnects": Party.PROVIDER,
    "socket_lost": Party.PROVIDER,
    "silent": Party.DEVICE,
    "refused": Party.DEVICE,
    "outdated": Party.DEVICE,
}
_FAULTS = {
    "misconfigured": FaultClass.CONFIGURATION,
    "credentials": FaultClass.CREDENTIALS,
    "outage": FaultClass.OUTAGE,
}


class Trouble(NamedTuple):
    """One trouble and its span, in seconds since the beginning of the world."""

    name: str
    begin: float
    end: float


@dataclass
class World:
    """The facts at `now`, and the truth beside them. `begun_calls` counts calls."""

    transport: str
    interval: int
    troubles: tuple[Trouble, ...]
    seconds: float = 0.0
    begun_calls: int = 0
    answers: list[tuple[datetime, datetime]] = field(default_factory=list)
    last_heard_seconds: float | None = None
    _call: tuple[datetime, float] | None = None
    _is_known: bool = False
    _roster_seconds: float = -ROSTER_EVERY
    _produced: dict[str, bool] = field(default_factory=dict)
    _kind: str = "good"
    _no_cycle_until: float = 0.0

    def __post_init__(self) -> None:
        connection = replace(TRAM_AND_BUS, transport=self.transport)  # type: ignore[arg-type]
        workspace = replace(HARBOUR_LINES, poll_interval_seconds=self.interval)
        self.facts = HealthFacts(
            workspace=replace(workspace, scheduled_since=NOW),
            connection=connection,
            device=replace(BUS_7, activated_at=NOW),
            connection_record=ConnectionRecord(),
            collector=CollectorRecord(),
            version=0,
            document={},
            **dict.fromkeys(
                name for name in HealthFacts._fields if name.startswith(("last_", "statement"))
            ),
            held_back_seconds=None,
            refused_signals={},
            is_of_legacy=False,
        )

    @property
    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def has(self, name: str) -> bool:
        return any(
            each.name == name and each.begin <= self.seconds < each.end for each in self.troubles
        )

    def truth(self) -> frozenset[str]:
        """Return the troubles of this moment."""
        return frozenset(name for name in TROUBLES if self.has(name))

    def live(self, until: float) -> Iterator[World]:
        """Go on step by step, and yield the world after each."""
        while self.seconds < until:
            self.seconds += STEP
            self._step()
            yield self

    # --- one step

    def _step(self) -> None:
        self._switch()
        is_away = self.has("collector_away")
        self._beat(is_away)
        if is_away:
            self._call = None
            self._no_cycle_until = self.seconds + self.interval / 2
            return
        self._keep_socket()
        self._report()
        if self.transport != "push":
            self._end_call()
        self._start_cycle()

    def _switch(self) -> None:
        is_active = not self.has("switched_off")
        if is_active != self.facts.connection.active:
            connection = replace(self.facts.connection, active=is_active)
            self._set(connection=connection, connection_changed_at=self.now)

    def _beat(self, is_away: bool) -> None:
        if not is_away:
            self._collector(owner="shard-a", owner_expires_at=self.now + timedelta(seconds=15))

    def _start_cycle(self) -> None:
        """Start a cycle at each multiple of the interval, or later after our own absence."""
        collector = self.facts.collector
        slot = NOW + timedelta(seconds=self.seconds - self.seconds % self.interval)
        if collector.last_slot_start_at == slot or self.seconds < self._no_cycle_until:
            return
        self._collector(
            earlier_cycle_started_at=collector.last_cycle_started_at,
            last_cycle_started_at=self.now,
            last_slot_start_at=slot,
        )
        if self.transport != "push" and self.facts.connection.active:
            self.begun_calls += 1
            self._call = (self.now, self.seconds + CALL_SECONDS)

    def _end_call(self) -> None:
        if self._call is None or self.seconds < self._call[1]:
            return
        begun_at, self._call = self._call[0], None
        self._link(call_begun_at=begun_at, call_ended_at=self.now)
        fails = self.has("every_second_call_fails") and self.begun_calls % 2
        fault = next((kind for name, kind in _FAULTS.items() if self.has(name)), None)
        if fails or fault is not None:
            since = self.facts.connection_record.failing_since or self.now
            fault = fault or FaultClass.OUTAGE
            self._link(call_status="failed", fault=fault, failing_since=since)
            return
        self._link(call_status="succeeded", failing_since=None)
        self._answer(begun_at)

    def _answer(self, begun_at: datetime) -> None:
        """Take in an answer: a state call is a roster; a poll asks for one every half hour."""
        is_due = self.seconds - self._roster_seconds >= ROSTER_EVERY
        is_roster = self.transport == "stream" or is_due
        is_named = not self.has("left_out")
        if is_roster:
            self._roster_seconds = self.seconds
            self._is_known = is_named
            self._link(roster_begun_at=begun_at, roster_at=self.now)
            kind = "named" if is_named else "left_out"
            self._set(statement=kind, statement_begun_at=begun_at, statement_at=self.now)
        if self.transport == "poll":
            self._link(complete_begun_at=begun_at, complete_at=self.now)
        if is_named and OWN in self._produced:
            self._is_known = True
            self._set(statement="named", statement_begun_at=begun_at, statement_at=self.now)
            self._receive(self._kind)
        self._produced.clear()
        if self._is_known:
            self.answers.append((begun_at, self.now))

    # --- data

    def _report(self) -> None:
        """Let both devices send something, every 30 s. A call brings what came since the last."""
        if self.seconds % 30:
            return
        kind = next((name for name in ("refused", "outdated") if self.has(name)), "good")
        is_silent = self.has("silent")
        if not is_silent and self.transport != "push":
            self._produced[OWN], self._kind = True, kind
        if self.transport == "poll" or not self._is_delivering():
            return
        self._note_data(OTHER)
        if not is_silent and not self.has("left_out"):
            self._note_data(OWN)
            self._receive(kind)
            self._produced.pop(OWN, None)  # a state call that brings it once more brings a repeat

    def _is_delivering(self) -> bool:
        if not self.facts.connection.active:
            return False
        return self.transport == "push" or self.facts.connection_record.stream_status == "open"

    def _receive(self, kind: str) -> None:
        if kind == "refused":
            self._set(last_rejected_at=self.now, last_rejection_reason="invalid")
        elif kind == "outdated":
            self._set(last_outdated_at=self.now)
        else:
            self._set(last_update_received_at=self.now, last_observed_at=self.now)

    def _note_data(self, device_id: str) -> None:
        record = self.facts.connection_record
        if self.transport == "push":
            self._link(sender_at=self.now)
            if device_id == OTHER:
                self.answers.append((self.now, self.now))
        if record.data_device_id not in {None, device_id}:
            self._link(other_data_at=record.data_at)
        self._link(data_at=self.now, data_device_id=device_id)

    def _keep_socket(self) -> None:
        """Lose and open the socket. With `reconnects` it is away for a step every two minutes."""
        if self.transport != "stream":
            return
        record = self.facts.connection_record
        is_lost = any(map(self.has, ("socket_lost", "outage", "credentials", "misconfigured")))
        is_lost = is_lost or (self.has("reconnects") and self.seconds % 120 == 0)
        if not self.facts.connection.active:
            self._link(stream_status="closed", stream_changed_at=self.now)
        elif is_lost:
            fault = next(
                (kind for name, kind in _FAULTS.items() if self.has(name)), FaultClass.OUTAGE
            )
            since = record.stream_down_since or self.now
            if record.stream_status != "closed":
                self._link(stream_status="closed", stream_changed_at=self.now)
            self._link(stream_fault=fault, stream_down_since=since)
        elif record.stream_status != "open":
            self._link(stream_status="open", stream_changed_at=self.now)
        elif (self.now - (record.stream_changed_at or self.now)).total_seconds() >= 60:
            self._link(stream_fault=None, stream_down_since=None)

    # --- facts

    def _set(self, **changes: Any) -> None:
        self.facts = self.facts._replace(**changes)

    def _link(self, **changes: Any) -> None:
        self._set(connection_record=replace(self.facts.connection_record, **changes))

    def _collector(self, **changes: Any) -> None:
        self._set(collector=replace(self.facts.collector, **changes))
