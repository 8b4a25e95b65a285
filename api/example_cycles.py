"""The examples of poll cycles: one good cycle of the workspace north, and a schedule's event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_SLOT: Final = "2026-03-01T11:59:24.439546Z"
_ASKED: Final = "2026-03-01T11:59:24Z"
_CAME: Final = "2026-03-01T11:59:25.720Z"
_COMMITTED: Final = "2026-03-01T11:59:25.764Z"
_ANSWERED: Final = "2026-03-01T11:59:26Z"

_COUNTS: Final = {"updates": 33, "devices_answered": 33, "malformed": 1, "ignored": 0}
_COLLECTED: Final = {
    "provider_type": "viriciti",
    "received_at": _CAME,
    "payload_prepared_at": _CAME,
    "committed_at": _COMMITTED,
    "frames": 34,
    **_COUNTS,
    "accepted": 33,
    "reasons": {},
    "rejected_records": {"malformed": 1},
}
_SUMMARY: Final = {
    "connections": {"live": "ok"},
    "records": 34,
    "updates": 33,
    "outcomes": {"accepted": 33},
    "unconfirmed": 0,
    "malformed": 1,
    "superseded": 0,
    "unknown_dropped": 0,
    "device_errors": 0,
    "refused_signals": {},
    "collected": {"live": _COLLECTED},
}
_HEAD: Final = {
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "workspace_id": "north",
    "cycle_id": "20260301T115924Z-schedule-1-d1477a13",
}
_LIVE: Final = {**_HEAD, "provider_type": "viriciti", "provider_id": "live"}
_RECORDS: Final = [
    {
        "name": "workspace_poll_cycle_triggered",
        "at": _ASKED,
        **_HEAD,
        "slot_at": _SLOT,
        "attempt": 1,
        "trigger": "schedule",
        "cycle_started_at": _ASKED,
    },
    {
        "name": "telematics_provider_message_received",
        "at": _CAME,
        **_LIVE,
        "received_at": _CAME,
        "frames": 34,
    },
    {
        "name": "telematics_ingress_payload_prepared",
        "at": _CAME,
        **_LIVE,
        "payload_prepared_at": _CAME,
        **_COUNTS,
    },
    {
        "name": "telematics_update_accepted",
        "at": _COMMITTED,
        **_LIVE,
        "committed_at": _COMMITTED,
        "updates": 33,
    },
    {
        "name": "telematics_update_rejected",
        "at": _COMMITTED,
        **_LIVE,
        "committed_at": _COMMITTED,
        "updates": 0,
        "reasons": {},
        "records": {"malformed": 1},
    },
    {
        "name": "workspace_poll_ingest_completed",
        "at": _ANSWERED,
        **_HEAD,
        "cycle_ended_at": _ANSWERED,
        "outcome": "completed",
        "result_summary": _SUMMARY,
    },
]
CYCLES: Final[Mapping[str, Any]] = {
    "outcome": "completed",
    "trigger": "schedule",
    "attempt": 1,
    "requested_at": None,
    "slot_start_at": _SLOT,
    "start_at": "2026-03-01T11:59:24.461Z",
    "started_at": _ASKED,
    "ended_at": _ANSWERED,
    "active_devices": 34,
    "fresh_devices": 32,
    "updated_devices": 32,
    "summary": _SUMMARY,
    "records": 34,
    "CycleDetail.records": _RECORDS,
}
# As a schedule of Amazon EventBridge sends it to an API destination.
EVENT: Final[Mapping[str, Any]] = {
    "version": "0",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "account": "123456789012",
    "time": "2026-03-01T12:00:00Z",
    "region": "eu-central-1",
    "resources": ["arn:aws:events:eu-central-1:123456789012:rule/every-five-minutes"],
    "detail": {},
}
