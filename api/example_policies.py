"""The values of the examples of a policy, its preview and its history.

They tell the story of api/example_values.py. North would call a device stale after 45 minutes
instead of 15. Bus 7 was heard 40 minutes ago, so it would be delayed instead of stale.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

COUNTS: Final = {
    "healthy": 31,
    "delayed": 1,
    "stale": 1,
    "configured-no-data": 1,
    "awaiting-first-data": 0,
}
_LIMITS: Final = {
    "freshness_target_seconds": 300.0,
    "delayed_after_seconds": 360.0,
    "stale_after_seconds": 900.0,
    "grace_seconds": 3600.0,
}
_THRESHOLDS: Final = {
    **_LIMITS,
    "expected_update_seconds": None,
    "source": "workspace",
    "period_seconds": 300.0,
}
_NEXT_START: Final = "2026-03-01T12:04:24Z"

POLICIES: Final[Mapping[str, Any]] = MappingProxyType(
    {
        **_LIMITS,
        "poll_interval_seconds": 300,
        "start_offset_seconds": 24,
        "WorkspaceBody.start_offset_seconds": None,  # a PUT may not change what is stored
        "PolicyPreview.policy": {
            "workspace_id": "north",
            **_LIMITS,
            "stale_after_seconds": 2700.0,
            "poll_interval_seconds": 300,
            "start_offset_seconds": 24,
        },
        "valid_from": "2026-02-20T08:00:00Z",
        "valid_until": None,
        "PolicyVersion.policy": {
            "workspace_id": "north",
            **_LIMITS,
            "poll_interval_seconds": 300,
            "start_offset_seconds": 24,
        },
        "PolicyPreview.devices": 34,
        "PolicyPreview.changed": 1,
        "counts_now": COUNTS,
        "counts_then": {**COUNTS, "delayed": 2, "stale": 0},
        "from_state": "stale",
        "from_reason": "device_silent",
        "to_state": "delayed",
        "to_reason": "device_silent",
        "PreviewedChange.devices": 1,
        "sources": {"workspace": 34},
        "PolicyPreview.schedule": {
            "changes": False,
            "next_regular_start_at": _NEXT_START,
            "new_next_regular_start_at": _NEXT_START,
        },
        "PreviewedDevice.now": {
            "state": "stale",
            "reason": "device_silent",
            "thresholds": _THRESHOLDS,
        },
        "PreviewedDevice.then": {
            "state": "delayed",
            "reason": "device_silent",
            "thresholds": {**_THRESHOLDS, "stale_after_seconds": 2700.0},
        },
    }
)
