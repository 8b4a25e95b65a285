"""Conversions from rows, read by column name, to our types. Pure; knows no driver."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson

from domain.assignments import DeviceAssignment, VehicleSpan
from domain.cutover import Cutover, PollOwner, ProviderMode, ReadOwner, RegistrySource
from domain.cycles import CycleKey, CycleOutcome, CycleTrigger
from domain.health_facts import ConnectionRecord
from domain.model import Device, FaultClass, Policy, PolicyOverride, ProviderConnection, Workspace
from domain.parity import ParityCounts, ParityVerdict
from domain.poll_plan import NewestStart, PlannedWorkspace
from domain.schedule import Place
from domain.start_offsets import ExplicitPlace, OtherStarts
from ports.legacy import LegacyConfiguration
from ports.reads import CycleRow, EventRow, FleetRow, RejectionRow, SnapshotRow
from storage.documents import read_readings, read_values

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from domain.model import Value

    class Row(Protocol):
        def __getitem__(self, name: str, /) -> Any: ...


class Prefixed:
    """Those columns of a row whose names begin with `prefix`, by what follows it."""

    def __init__(self, row: Row, prefix: str) -> None:
        self._row = row
        self._prefix = prefix

    def __getitem__(self, name: str, /) -> Any:
        return self._row[self._prefix + name]


def to_aware(instant: datetime) -> datetime:
    """Return a stored instant that a client stated, with its zone.

    The driver stores 0001-01-01T00:00:00Z as -infinity, and reads that without a zone. Releases of
    before took such instants.
    """
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


def to_workspace(row: Row) -> Workspace:
    policy = Policy(
        row["freshness_target_seconds"],
        row["delayed_after_seconds"],
        row["stale_after_seconds"],
        row["grace_seconds"],
    )
    return Workspace(
        workspace_id=row["workspace_id"],
        name=row["name"],
        active=row["active"],
        ordinal=row["ordinal"],
        poll_interval_seconds=row["poll_interval_seconds"],
        policy=policy,
        config_version=row["config_version"],
        scheduled_since=row["scheduled_since"],
        archived_at=row["archived_at"],
        time_zone=row["time_zone"],
        start_offset_seconds=row["start_offset_seconds"],
        active_changed_at=row["active_changed_at"],
        revision=row["revision"],
        policy_revision=row["policy_revision"],
        cutover=to_cutover(row),
        cutover_revision=row["cutover_revision"],
        asking_changed_at=row["asking_changed_at"],
    )


def to_cutover(row: Row) -> Cutover:
    """Return the four flags of a row of workspaces."""
    return Cutover(
        RegistrySource(row["device_registry_source"]),
        PollOwner(row["poll_owner"]),
        ReadOwner(row["read_owner"]),
        ProviderMode(row["provider_mode"]),
    )


def to_parity_counts(row: Row) -> ParityCounts:
    """Return the counts of one cycle. With a `why`, nothing in it was comparable."""
    counts = {verdict: row[verdict.value] for verdict in ParityVerdict}
    devices = sum(counts.values())
    if row["why"] is not None:
        counts = {ParityVerdict.INCOMPARABLE: devices}
    return ParityCounts(devices, counts)


def to_legacy_configuration(row: Row) -> LegacyConfiguration | None:
    """Return how the legacy system of a row of cutovers is reached; None if there is none."""
    base_url = row["legacy_base_url"]
    if base_url is None:
        return None
    return LegacyConfiguration(
        base_url, row["legacy_credential"], orjson.loads(row["legacy_shape"])
    )


def to_other_starts(rows: Iterable[Row]) -> OtherStarts:
    """Return the counts of `count_other_places`: all active workspaces, and the explicit places."""
    counted = [
        (row["poll_interval_seconds"], row["start_offset_seconds"], row["workspaces"])
        for row in rows
    ]
    explicit = {
        ExplicitPlace(interval, offset): workspaces
        for interval, offset, workspaces in counted
        if offset is not None
    }
    return OtherStarts(sum(workspaces for *_, workspaces in counted), explicit)


def to_override(row: Row) -> PolicyOverride:
    return _make_override(
        row["delayed_after_seconds"], row["stale_after_seconds"], row["grace_seconds"]
    )


# Most devices have no limits of their own. One object for equal limits is also compared faster.
_make_override: Final = lru_cache(maxsize=1024)(PolicyOverride)


def to_connection(row: Row) -> ProviderConnection:
    return ProviderConnection(
        workspace_id=row["workspace_id"],
        provider_id=row["provider_id"],
        provider_type=row["provider_type"],
        transport=row["transport"],
        base_url=row["base_url"],
        credential=row["credential"],
        settings=orjson.loads(row["settings"]),
        active=row["active"],
        expected_update_seconds=row["expected_update_seconds"],
        override=to_override(row),
        ids_are_vins=row["ids_are_vins"],
        archived_at=row["archived_at"],
        period_is_documented=row["period_is_documented"],
        simulated=row["simulated"],
        revision=row["revision"],
    )


def to_device(row: Row) -> Device:
    return Device(
        workspace_id=row["workspace_id"],
        device_id=row["device_id"],
        provider_id=row["provider_id"],
        external_id=row["external_id"],
        vehicle_id=row["vehicle_id"],
        vehicle_name=row["vehicle_name"],
        activated_at=to_aware(row["activated_at"]),
        retired_at=row["retired_at"],
        override=to_override(row),
        ids_are_vins=row["ids_are_vins"],
        assignment=row["assignment"],
        other_spans=to_spans(row["other_spans"]),
        tags=to_tags(row["tags"]),
        revision=row["revision"],
    )


def to_tags(text: str) -> tuple[str, ...]:
    """Parse stored tags: see dump_tags."""
    return () if text == "[]" else tuple(orjson.loads(text))


def to_assignment(row: Row) -> DeviceAssignment:
    stored = {field.name: row[field.name] for field in fields(DeviceAssignment)}
    return DeviceAssignment(**stored | {"effective_at": to_aware(row["effective_at"])})


def to_spans(text: str | None) -> tuple[VehicleSpan, ...]:
    """Parse stored spans, such as [["2026-05-01T10:00:00Z", "2026-05-01T11:00:00Z"]]."""
    if text is None:
        return ()
    parse = datetime.fromisoformat
    return tuple(VehicleSpan(parse(start), parse(end)) for start, end in orjson.loads(text))


def dump_spans(spans: tuple[VehicleSpan, ...]) -> str | None:
    """Return the spans as they are stored; null if there are none, as for almost every device."""
    pairs = list(map(tuple, spans))  # orjson does not know named tuples
    return orjson.dumps(pairs, option=orjson.OPT_UTC_Z).decode() if pairs else None


def dump_tags(tags: tuple[str, ...]) -> str:
    """Return the tags as they are stored, such as ["depot north", "line 7"]."""
    return orjson.dumps(tags).decode()


def to_fleet(found: Row, connections: Iterable[Row], devices: Iterable[Row]) -> FleetRow:
    """Return a fleet from its three answers."""
    links = map(to_connection, connections)
    return FleetRow(
        found["read_at"],
        to_workspace(found),
        to_legacy_configuration(found),
        {link.provider_id: link for link in links},
        [to_device(row) for row in devices],
    )


def to_snapshot(row: Row) -> SnapshotRow:
    return SnapshotRow(
        to_device(row),
        row["version"],
        read_values(row["document"]),
        row["last_update_received_at"],
        row["last_changed_at"],
        row["stream_down_since"],
    )


def to_event(row: Row) -> EventRow:
    return EventRow(
        row["sequence"],
        row["recorded_at"],
        row["received_at"],
        _to_readings(row),
        row["provider_id"],
        row["trace_id"],
        row["shard_id"],
        row["epoch"],
        row["resource"],
        row["token"],
        row["assignment"],
        row["vehicle_id"],
        row["external_id"],
        row["is_outside"],
        row["reception_at"],
    )


def _to_readings(row: Row) -> dict[str, tuple[Value, datetime]]:
    signals = row["signals"]
    if signals is None:
        return read_readings(row["readings"], None)
    return read_readings(signals, row["observed_at"])


def to_cycle_key(row: Row) -> CycleKey:
    return CycleKey(
        row["workspace_id"], row["slot_start_at"], CycleTrigger(row["trigger"]), row["attempt"]
    )


def to_cycle(row: Row) -> CycleRow:
    outcome = row["outcome"]
    return CycleRow(
        to_cycle_key(row),
        row["cycle_id"],
        row["trace_id"],
        row["shard_id"],
        row["requested_at"],
        row["started_at"],
        row["ended_at"],
        outcome if outcome == "requested" else CycleOutcome(outcome),
        orjson.loads(row["summary"]),
        row["active_devices"],
        row["fresh_devices"],
        row["updated_devices"],
    )


def to_planned(row: Row) -> PlannedWorkspace:
    slot = row["slot_start_at"]
    newest = None
    if slot is not None:
        trigger, outcome = CycleTrigger(row["trigger"]), CycleOutcome(row["outcome"])
        newest = NewestStart(slot, trigger, outcome, row["started_at"])
    place = Place(
        row["workspace_id"],
        row["ordinal"],
        row["poll_interval_seconds"],
        row["start_offset_seconds"],
        row["scheduled_since"],
    )
    return PlannedWorkspace(row["name"], place, newest)


def to_rejection(row: Row) -> RejectionRow:
    return RejectionRow(*(row[name] for name in RejectionRow._fields))


def to_connection_record(row: Row) -> ConnectionRecord:
    """Return what is stored of a connection. ConnectionRecord names the columns."""
    facts = {field.name: row[field.name] for field in fields(ConnectionRecord)}
    for name in ("fault", "stream_fault"):
        if facts[name] is not None:
            facts[name] = FaultClass(facts[name])
    return ConnectionRecord(**facts)
