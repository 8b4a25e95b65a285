"""The values of the examples of the fleet, and of values and trends beside a verdict.

They tell the story of api/example_values.py.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

FLEET: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "ConnectionState.call_status": "succeeded",
        "ConnectionState.failing_since": None,
        "ConnectionState.last_failure_at": None,
        "fault_detail": None,
        "stream_fault_detail": None,
        "ConnectionState.stream_down_since": None,
        "ConnectionState.stream_fault": None,
        "ConnectionState.fault": None,
        "ConnectionState.sender_at": None,
        "DeviceTrend.values": [64.5],
        "DeviceTrend.heard_at": ["2026-03-01T11:20:04Z"],
        "WorklistSummary.devices": 1,
        "WorklistSummary.ages": {
            "under_1_day": 1,
            "days_1_to_3": 0,
            "days_3_to_7": 0,
            "days_7_to_30": 0,
            "over_30_days": 0,
            "never": 0,
        },
        "WorklistSummary.states": {"stale": 1},
        "WorklistSummary.parties": {"device": 1},
        "WorklistSummary.reasons": {"device_silent": 1},
        "WorklistSummary.providers": {"live": 1},
        "WorklistSummary.unavailable_workspaces": [],
        "WorklistSummary.workspaces": [
            {"workspace_id": "north", "workspace_name": "North depot", "devices": 1}
        ],
        "FleetReport.workspaces": 2,
        "WorkspaceInFleet.parties": {"device": 2, "provider": 1},
        "WorkspaceInFleet.outage": None,
        "ReportedDevice.values": {
            "soc_percent": {
                "value": 64.5,
                "unit": "%",
                "at": "2026-03-01T11:20:01Z",
                "age_seconds": 2399.0,
                "mark": "old",
            }
        },
    }
)
