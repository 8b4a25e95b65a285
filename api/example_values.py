"""The values of the examples in the API's description: one story, told in every body.

It is noon. Bus 7 of the workspace north was last heard from at 11:20, and its provider still
answers that there is no news. A key is a member's name, or `Model.member` where one model differs.
None leaves an optional member out. Nothing here is a default of the API.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from api.example_cutover import CUTOVER_PROBLEMS, CUTOVERS
from api.example_cycles import CYCLES, EVENT
from api.example_fleet import FLEET
from api.example_indicators import INDICATORS
from api.example_legacy import LEGACY_PROBLEMS, UNAVAILABLE
from api.example_pictures import PICTURES
from api.example_policies import COUNTS, POLICIES

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOON: Final = "2026-03-01T12:00:00Z"
_HEARD: Final = "2026-03-01T11:20:04Z"
_OBSERVED: Final = "2026-03-01T11:20:01Z"
_ASKED: Final = "2026-03-01T11:59:24Z"
_ANSWERED: Final = "2026-03-01T11:59:26Z"
_SOME_DAYS_BEFORE: Final = "2026-02-20T08:00:00Z"
_TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
_VIN: Final = "WDB9634031L123456"

# Whole bodies whose members depend on each other, and changes of one member.
MODELS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "IndicatorsAnswer": dict(INDICATORS),
        "UnavailableWorkspace": dict(UNAVAILABLE),
        "DevicePatch": {"vehicle_name": "Bus 7 (spare)"},
        "ProviderPatch": {"active": False},
        "WorkspacePatch": {"name": "North depot"},
        "CutoverPatch": {"poll_owner": "both_shadow"},
        "PolicyPatch": {"stale_after_seconds": 1200.0},
        "CycleRequest": EVENT,
        "SwapBody": {"external_id": "WDB9634031L654321", "effective_at": "2026-03-01T06:30:00Z"},
    }
)

_IDS: Final = {
    "workspace_id": "north",
    "workspace_name": "North depot",
    "provider_id": "live",
    "device_id": "bus-7",
    "external_id": _VIN,
    "vehicle_id": "7",
    "vehicle_name": "Bus 7",
    "provider_ids": ["live"],
    "cycle_id": "20260301T115924Z-schedule-1-d1477a13",
    "key_id": "9f2c41d07ab3e655",
    "trace_id": _TRACE,
    "shard_id": "shard-1",
    "resource": "workspace:north",
    "next_cursor": None,
    "UpdateItem.vehicle_id": None,
    "UpdateItem.external_id": None,
    "UpdateItem.received_at": None,
}
_CONFIGURATION: Final[Mapping[str, Any]] = {
    "name": "North depot",
    "archived_at": None,
    "time_zone": "Europe/Berlin",
    "served_by": "core",
    "tags": ["depot north", "line 7"],
    "config_version": 12,
    "provider_type": "viriciti",
    "transport": "stream",
    "base_url": "https://vendor.example",
    "credential": "env:LASTHEARD_SECRET_NORTH",
    "settings": {},
    "overrides": {},
    "revision": 3,
    "ImportedDevice.revision": None,
    "warnings": [],
    "expected_update_seconds": None,
    "activated_at": _SOME_DAYS_BEFORE,
    "retired_at": None,
    "effective_at": _SOME_DAYS_BEFORE,
    "entered_at": _SOME_DAYS_BEFORE,
    "former": None,
    "events_outside": {"count": 0, "items": []},
    "assignment": 1,
    "SwapAnswer.device": {
        "workspace_id": "north",
        "device_id": "bus-7",
        "provider_id": "live",
        "external_id": "WDB9634031L654321",
        "vehicle_id": "7",
        "vehicle_name": "Bus 7",
        "active": True,
        "activated_at": _SOME_DAYS_BEFORE,
        "retired_at": None,
        "overrides": {},
        "assignment": 2,
        "tags": ["depot north", "line 7"],
    },
    "SwapAnswer.assignment": {
        "assignment": 2,
        "provider_id": "live",
        "external_id": "WDB9634031L654321",
        "vehicle_id": "7",
        "vehicle_name": "Bus 7",
        "effective_at": "2026-03-01T06:30:00Z",
        "entered_at": _NOON,
        "ended_at": None,
    },
    "AssignmentAnswer.ended_at": None,
    "ImportAnswer.devices": 34,
    "created": 33,
    "updated": 1,
    "swapped": 0,
    "expires_at": "2099-12-31T23:59:59Z",
    "scopes": ["read"],
    "workspaces": ["north"],
    "FleetCheck.workspaces": [
        {"workspace_id": "north", "policy": {"stale_after_seconds": 1200.0}, "connections": []}
    ],
    "created_by": "9f2c41d07ab3e655",
    "last_used_at": "2026-03-01T11:58:00Z",
    "revoked_at": None,
    "revoked_by": None,
    "RevokedKey.state": "revoked",
    "RevokedKey.revoked_at": _NOON,
    "RevokedKey.revoked_by": "9f2c41d07ab3e655",
    "was_revoked": False,
    "KeyBody.name": "depot-dashboard",
    "KeyAnswer.name": "depot-dashboard",
    "CreatedKey.name": "depot-dashboard",
    "RevokedKey.name": "depot-dashboard",
    "KeyAnswer.state": "active",
    "CreatedKey.state": "active",
    "CreatedKey.token": "lh_9f2c41d07ab3e655_0123456789abcdef0123456789abcdef",
}
_AUDIT: Final = {
    "change_id": 5210,
    "AuditAnswer.at": "2026-03-01T06:31:10Z",
    "AuditAnswer.kind": "device",
    "subject": "bus-7",
    "who": "9f2c41d07ab3e655",
    "key_name": "depot-dashboard",
    "address": "192.0.2.7",
    "changed": ["vehicle_name"],
    "before": {"vehicle_name": "Bus 7"},
    "after": {"vehicle_name": "Bus 7 (spare)"},
    "part_of": None,
}
_VERDICT: Final = {
    "state": "stale",
    "reason": "device_silent",
    "party": "device",
    "detail": None,
    "counts": COUNTS,
    "workspace_outage": None,
    "freshness_age_seconds": 2396.0,
    "away_for_seconds": 2399.0,
    "silent_for_seconds": 2396.0,
    "last_update_received_at": _HEARD,
    "last_changed_at": _HEARD,
    "last_observed_at": _OBSERVED,
    "last_confirmed_at": _ANSWERED,
    "provider_lag_seconds": 3.0,
    "old_signals": [],
    "source": "workspace",
    "period_seconds": 300.0,
    "configured_at": _SOME_DAYS_BEFORE,
    "grace_exceeded_at": None,
    "causes": [{"reason": "device_silent", "party": "device", "since": _HEARD, "detail": None}],
    "last_good_cycle_at": _ANSWERED,
    "last_cycle_started_at": _ASKED,
    "last_cycle_outcome": "completed",
    "owner": "shard-1",
    "owner_expires_at": "2026-03-01T12:00:12Z",
    "collecting_paused": False,
    "oldest_waiting_seconds": None,
    "next_poll_at": "2026-03-01T12:04:24Z",
    "due_seconds": 660.0,
    "last_roster_at": "2026-03-01T11:29:26Z",
    "stream_status": "open",
    "stream_down_since": None,
    "last_sender_at": None,
    "last_error": None,
    "last_stream_error": None,
    "provider_answered_at": _ANSWERED,
    "held_back_seconds": None,
    "look_alike_ids": [],
    "last_rejected_at": None,
    "last_rejection_reason": None,
    "last_outdated_at": None,
    "refused_signals": {},
    "asked_at": _ASKED,
    "at": _ANSWERED,
}
_DATA: Final = {
    "signal": "soc_percent",
    "value": 64.5,
    "unit": "%",
    "observed_at": _OBSERVED,
    "received_at": _HEARD,
    "reception_at": None,
    "changed_at": _HEARD,
    "age_seconds": 2399.0,
    "mark": "old",
    "values": {
        "soc_percent": {
            "value": 64.5,
            "unit": "%",
            "observed_at": _OBSERVED,
            "received_at": _HEARD,
            "reception_at": None,
            "changed_at": _HEARD,
            "age_seconds": 2399.0,
            "mark": "old",
        }
    },
    "EventAnswer.readings": {"soc_percent": {"value": 64.5, "observed_at": _OBSERVED}},
    "version": 1042,
    "sequence": 1042,
    "recorded_at": "2026-03-01T11:20:05Z",
    "epoch": 4,
    "token": 17,
    "outside_assignment": False,
    "UpdateResult.outcome": "accepted",
    "UpdateResult.reason": None,
    "UpdateResult.errors": [],
    "RejectionAnswer.outcome": "rejected",
    "RejectionAnswer.reason": "future_timestamp",
    "RejectionAnswer.detail": "observed_at is more than 300 s ahead of its arrival",
    "rejection_id": 5077,
    "quarantine_id": "31",
    "QuarantineAnswer.reason": "data_error",
    "can_be_replayed": True,
    "ReplayedAnswer.outcome": "accepted",
    "ReplayedAnswer.reason": None,
    "occurrences": 12,
    "hour": "2026-03-01T11:00:00Z",
    "last_at": "2026-03-01T11:48:10Z",
    "sample": {"base64": "eyJzb2MiOiA2NC41fQ==", "text": '{"soc": 64.5}'},
}
_CATALOGUES: Final = {
    "kind": "named",
    "CatalogueSignal.kind": "number",
    "CatalogueSignal.description": "state of charge of the traction battery",
    "minimum": 0.0,
    "maximum": 100.0,
    "while_signal": None,
    "old_after_seconds": 900.0,
    "vss_path": "Vehicle.Powertrain.TractionBattery.StateOfCharge.Displayed",
    "lowest": 255.0,
    "highest": 255.0,
    "word": None,
    "instants": None,
    "only_with": None,
    "NotAvailableCode.provider_type": None,
    "ProviderTypeAnswer.provider_type": "rfms",
    "ProviderTypeAnswer.title": "rFMS",
    "ProviderTypeAnswer.summary": "vehicle statuses, asked for call by call",
    "ProviderTypeAnswer.base_url": "the address of the server, up to /rfms",
    "ProviderTypeAnswer.credential": "name and password, divided by a colon",
    "ProviderTypeAnswer.settings": {"type": "object", "properties": {}},
    "ProviderTypeAnswer.expected_update_seconds": 3600.0,
    "transports": ["poll"],
    "destination_settings": None,
    "ProviderLimit.name": "longest time between two records",
    "ProviderLimit.value": 3600.0,
    "ProviderLimit.unit": "s",
    "ProviderLimit.description": "a record comes at least once an hour",
}
_TRIAL: Final[Mapping[str, Any]] = {
    "TrialAnswer.outcome": "answered",
    "TrialAnswer.errors": {},
    "advice": [],
    "fault": None,
    "seconds": 1.0,
    "TrialBody.way": "call",
    "external_ids": [_VIN],
    "refusals": [],
    "left_out": [],
    "unconfigured_count": 0,
    "refusal_count": 0,
    "left_out_count": 0,
    "has_more": False,
    "ignored": 0,
}
_RUNTIME: Final[Mapping[str, Any]] = {
    "draining": False,
    "failing": False,
    "closed": False,
    "RunnerStatistics.paused": False,
    "ShardStatistics.paused": False,
    "ShardStatistics.assignment": {"seen_free": 0, "adopted": []},
    "leaving": [],
    "SupervisorStatistics.name": "owned",
    "states": {"running": 1},
    "children": {
        "workspace:north": {
            "state": "running",
            "restart": "permanent",
            "essential": False,
            "restarts": 0,
            "since": _SOME_DAYS_BEFORE,
            "last_error": None,
        }
    },
    "RunnerStatistics.workspaces": {
        "north": {
            "outcomes": {"completed": 12},
            "next_start_at": "2026-03-01T12:04:24Z",
            "config_version": 12,
            "token": 3,
            "cutover": {"cycles": 12, "done": {"compare": 12, "guard": 0}, "failing": []},
            "streams": {},
        }
    },
    "IngestStatistics.refusals": {"keys": 1, "waiting": 0, "written": 2, "lost": 0},
    "IngestStatistics.oldest_waiting_seconds": 0.0,
    "MailboxStatistics.oldest_waiting_seconds": 0.0,
    "issuer": "https://login.example",
    "key_ids": ["2026-03"],
    "last_failure": None,
    "server_version": "18.0",
    "last_error": None,
    "ShardAnswer.ended_at": None,
    "ShardAnswer.expires_at": "2026-03-01T12:00:10Z",
    "VitalSigns.version": "0.2.0",
    "VitalSigns.workspaces": 1,
    "VitalSigns.oldest_waiting_seconds": 0.0,
}
_ENVELOPE: Final = {
    "workspaceId": "north",
    "providerType": "viriciti",
    "providerId": "live",
    "receivedAt": _HEARD,
    "rawMessage": {
        "type": "vehicles",
        "payload": {"vid": _VIN, "label": "soc", "time": 1772364001000, "value": 64.5},
    },
    "checks": {"database": True, "partitions": True, "ingest": True, "lanes": True},
}
MEMBERS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        **_IDS,
        **_CONFIGURATION,
        **_AUDIT,
        **_VERDICT,
        **POLICIES,
        **CUTOVERS,
        **FLEET,
        **_DATA,
        **CYCLES,
        **PICTURES,
        **_CATALOGUES,
        **_TRIAL,
        **_RUNTIME,
        **_ENVELOPE,
    }
)

# What a problem document says beside its type, by slug.
PROBLEMS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "invalid-parameter": {
            "errors": [
                {"detail": "Input should be greater than or equal to 1", "parameter": "limit"}
            ]
        },
        **LEGACY_PROBLEMS,
        "unauthenticated": {"detail": "Send a key: Authorization: Bearer lh_…"},
        "precondition-failed": {
            "detail": 'Its ETag is "4" now. Nothing was stored. Read it again before you change it.'
        },
        "invalid-body": {
            "detail": "1 field is invalid: /name.",
            "errors": [{"detail": "Field required", "pointer": "/name"}],
        },
        **CUTOVER_PROBLEMS,
        "rate-limited": {"retry_after": 1},
        "deadline-passed": {"retry_after": 1},
    }
)

_CSV_COLUMNS: Final = "device_id,provider_id,external_id,vehicle_id,vehicle_name,tags"
# Bodies that are no JSON, by media type.
TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "text/csv": f"{_CSV_COLUMNS}\r\nbus-7,live,{_VIN},7,Bus 7,depot north|line 7\r\n",
        "text/html": "<!doctype html>",
    }
)
