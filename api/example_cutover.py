"""The values of the examples of a cutover.

North has both systems collecting. Its legacy system is still read: 11 cycles were compared, and the
gate asks for 12.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHAPE: Final = {
    "values": {
        "path": "/fleets/{workspace_id}/state",
        "items": "data.vehicles",
        "device_id": "id",
        "received_at": "lastSeen",
        "signals": {"soc_percent": {"value": "battery.level", "unit": "fraction"}},
    }
}
_LEGACY: Final = {
    "base_url": "https://legacy.example",
    "credential": "env:LASTHEARD_SECRET_LEGACY",
    "shape": _SHAPE,
}
_GATE: Final = {"cycles": 12, "max_mismatch_share": 0.01, "min_comparable_share": 0.9}
_GATE_VIEW: Final = {
    "is_open": False,
    "cycles": 11,
    "comparable_cycles": 11,
    "mismatch_share": 0.004,
}
_COMPARED: Final = {
    "slot_start_at": "2026-03-01T11:55:04Z",
    "cycle_id": "20260301T115504Z-schedule-1-4d1f6a02",
    "compared_at": "2026-03-01T11:55:21Z",
    "devices": 250,
    "counts": {
        "equal": 247,
        "missing_here": 0,
        "missing_there": 0,
        "older": 0,
        "different": 1,
        "incomparable": 2,
    },
    "comparable_share": 0.992,
    "mismatch_share": 0.004,
    "samples": [
        {
            "device_id": "bus-7",
            "vehicle_id": "7",
            "verdict": "different",
            "signal": "soc_percent",
            "core": "61.5",
            "legacy": "48.0",
        }
    ],
    "why": None,
}
CUTOVERS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "device_registry_source": "core",
        "poll_owner": "both_shadow",
        "read_owner": "legacy",
        "provider_mode": "legacy_provider",
        "CutoverBody.legacy": _LEGACY,
        "CutoverAnswer.legacy": _LEGACY,
        "CutoverBody.gate": _GATE,
        "CutoverAnswer.gate": _GATE,
        "gate_view": _GATE_VIEW,
        "CutoverBody.force": None,
        "ParityList.now": "comparable",
        "ParityList.why": None,
        "ParityList.items": [_COMPARED],
        "RollbackBody.reason": "values of line 7 look wrong since noon",
        "ForceBody.reason": "two vehicles, watched by hand",
        "guardrail_events": [],
        "legacy_answered_at": "2026-03-01T11:59:26Z",
        "legacy_failed_at": None,
        "legacy_fault": None,
        "legacy_unfit": None,
        "rolled_back_at": None,
        "SyncBody.force": None,
        "SyncBody.dry_run": True,
        "SyncAnswer.outcome": "synced",
        "SyncAnswer.synced_at": "2026-03-01T11:59:27Z",
        "SyncAnswer.answered_at": "2026-03-01T11:59:26Z",
        "SyncAnswer.detail": None,
        "SyncAnswer.counts": {
            "unchanged": 48,
            "created": 1,
            "changed": 0,
            "swapped": 0,
            "activated": 0,
            "returned": 0,
            "retired": 0,
            "held_back": 1,
            "refused": 0,
        },
        "SyncAnswer.held_back": [{"device_id": "bus-7", "vehicle_id": "7", "why": "left_out_once"}],
        "SyncAnswer.refused": [],
    }
)
CUTOVER_PROBLEMS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "parity-gate": {
            "detail": "Core is read only after 12 compared cycles, each with at least 90% "
            "comparable devices, and at most 1% mismatch. There are 11 cycles, 11 of them "
            "comparable; mismatch: 0.40%. …",
            "gate": _GATE,
            "gate_view": _GATE_VIEW,
            "worst_devices": [
                {"device_id": "bus-7", "vehicle_id": "7", "verdicts": {"different": 3}}
            ],
        },
    }
)
