"""The cast of the domain's tests: one workspace, one provider, one bus, and a fixed moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from domain.acceptance import DeviceFold
from domain.health import judge_health
from domain.health_facts import CollectorRecord, ConnectionRecord, HealthFacts
from domain.held import Held, to_instant, to_micros
from domain.model import CanonicalUpdate, Device, Policy, ProviderConnection, Reading, Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from domain.health_reason import HealthReason, Party
    from domain.model import Value

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
DUE = 660.0  # 2.2 intervals of 300 s

HARBOUR_LINES = Workspace(
    "harbour-lines",
    "Harbour Lines",
    active=True,
    ordinal=3,
    poll_interval_seconds=300,
    policy=Policy(),
)
TRAM_AND_BUS = ProviderConnection(
    "harbour-lines", "main", "viriciti", "stream", "wss://example.invalid", "env:KEY"
)
BUS_7 = Device(
    "harbour-lines",
    "bus-7",
    "main",
    "vid_0007",
    "vehicle-7",
    "Bus 7",
    activated_at=NOW - timedelta(days=30),
)


def ago(**parts: float) -> datetime:
    """An instant so long before NOW: ago(minutes=3)."""
    return NOW - timedelta(**parts)


def reading(signal: str, value: Value, observed_at: datetime = NOW) -> Reading:
    return Reading(signal, value, observed_at)


def update(*readings: Reading, received_at: datetime = NOW, **claims: Any) -> CanonicalUpdate:
    """An update of bus 7; `claims` replace what it says about its identity."""
    plain = CanonicalUpdate(
        "harbour-lines", "main", None, "vid_0007", None, readings, received_at, "trace-1"
    )
    return plain._replace(**claims)


def held(value: Value, at: datetime) -> Held:
    """A value that was received when it was observed, and changed then."""
    moment = to_micros(at)
    return Held(value, moment, moment, None, moment)


def values_of(device: DeviceFold) -> dict[str, tuple[Value, datetime]]:
    """The values that a fold holds, each with its stated time."""
    entries = {signal: Held.of(entry) for signal, entry in device.document.items()}
    return {signal: (one.value, to_instant(one.stated)) for signal, one in entries.items()}


def fold(document: Mapping[str, tuple[Value, datetime]] | None = None, **facts: Any) -> DeviceFold:
    """Bus 7 as a unit loads it; nothing accepted yet unless the document and `facts` say so."""
    loaded: dict[str, Any] = {
        "workspace_id": "harbour-lines",
        "device_id": "bus-7",
        "provider_id": "main",
        "external_id": "vid_0007",
        "vehicle_id": "vehicle-7",
        "active": True,
        "version": 0,
        "document": {signal: held(*parts).entry for signal, parts in (document or {}).items()},
        "last_update_received_at": None,
        "last_observed_at": None,
        "last_changed_at": None,
    }
    return DeviceFold(**{**loaded, **facts})


def facts(
    document: Mapping[str, tuple[Value, datetime]] | None = None, **changes: Any
) -> HealthFacts:
    """A device in order: one value, collected, received and observed a minute ago.

    Its provider was asked half a minute ago, and named it.
    """
    if document is None:
        document = {"soc_percent": (88.5, ago(minutes=1))}
    values = {signal: held(*parts) for signal, parts in document.items()}
    plain = HealthFacts(
        workspace=HARBOUR_LINES,
        connection=TRAM_AND_BUS,
        device=BUS_7,
        connection_record=ConnectionRecord(
            call_status="succeeded",
            call_begun_at=ago(seconds=30),
            call_ended_at=ago(seconds=29),
            last_success_at=ago(seconds=29),
            roster_begun_at=ago(seconds=30),
            roster_at=ago(seconds=29),
            stream_status="open",
            stream_changed_at=ago(hours=3),
        ),
        collector=CollectorRecord(
            last_good_cycle_at=ago(minutes=1),
            last_cycle_started_at=ago(minutes=1, seconds=5),
            last_cycle_outcome="completed",
            last_slot_start_at=ago(minutes=1, seconds=6),
            earlier_cycle_started_at=ago(minutes=6, seconds=5),
            owner="shard-a",
            owner_expires_at=NOW + timedelta(seconds=10),
            oldest_waiting_seconds=0.1,
        ),
        version=1,
        document=values,
        last_update_received_at=ago(minutes=1),
        last_observed_at=ago(minutes=1),
        last_changed_at=ago(minutes=1),
        statement="named",
        statement_begun_at=ago(seconds=30),
        statement_at=ago(seconds=29),
        statement_detail=None,
        last_rejected_at=None,
        last_rejection_reason=None,
        last_outdated_at=None,
        held_back_seconds=None,
    )
    return plain._replace(**changes)


def reason(known: HealthFacts) -> HealthReason:
    """The reason that is decided at NOW."""
    return judge_health(known, NOW).reason


def party(known: HealthFacts) -> Party:
    """The party at fault at NOW."""
    return judge_health(known, NOW).party


def silent_for(**parts: float) -> HealthFacts:
    """The same, but the last update is so old; it was observed as it was received."""
    at = ago(**parts)
    return facts(
        last_update_received_at=at,
        last_observed_at=at,
        last_changed_at=at,
        document={"soc_percent": (88.5, at)},
    )


def never_heard(**parts: float) -> HealthFacts:
    """The same, but activated so long ago and without history."""
    return facts(
        device=replace(BUS_7, activated_at=ago(**parts)),
        version=0,
        document={},
        last_update_received_at=None,
        last_observed_at=None,
        last_changed_at=None,
    )


def unasked(known: HealthFacts) -> HealthFacts:
    """The same, but nobody has answered about the device yet."""
    return known._replace(statement=None, statement_begun_at=None, statement_at=None)


def polled(known: HealthFacts, interval: int = 300) -> HealthFacts:
    """The same over a polled connection, which has no socket."""
    return link(
        known._replace(
            connection=replace(known.connection, transport="poll"),
            workspace=replace(known.workspace, poll_interval_seconds=interval),
        ),
        stream_status=None,
        stream_changed_at=None,
    )


def pushed(known: HealthFacts, **record: Any) -> HealthFacts:
    """The same, but clients push its data, and nobody is asked."""
    return unasked(known)._replace(
        connection=replace(known.connection, transport="push"),
        connection_record=ConnectionRecord(**record),
    )


def collector(known: HealthFacts, **changes: Any) -> HealthFacts:
    return known._replace(collector=replace(known.collector, **changes))


def after_gap(known: HealthFacts, back: float = 20.0) -> HealthFacts:
    """The same, but our side was away for half an hour and is back for `back` seconds."""
    return collector(
        known,
        last_cycle_started_at=ago(seconds=back),
        last_slot_start_at=ago(seconds=back + 1),
        earlier_cycle_started_at=ago(minutes=30),
    )


def link(known: HealthFacts, **changes: Any) -> HealthFacts:
    return known._replace(connection_record=replace(known.connection_record, **changes))
