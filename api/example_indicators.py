"""The values of the example of a workspace's indicators.

It tells the story of api/example_values.py: an hour of north, with 34 devices. Bus 7 fell silent,
and another device has never reported.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOUR: Final = {"begins_at": "2026-03-01T11:00:00Z", "ends_at": "2026-03-01T12:00:00Z"}


def _seconds(p50: float, p90: float, p95: float, p99: float) -> dict[str, float]:
    return {"p50_seconds": p50, "p90_seconds": p90, "p95_seconds": p95, "p99_seconds": p99}


_SHARE: Final = {"samples": 12, "fresh_share": 0.941176}
INDICATORS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "workspace_id": "north",
        **_HOUR,
        "hours_missing": 0,
        "freshness": {
            "evaluated_at": "2026-03-01T12:00:00Z",
            "freshness_target_seconds": 300.0,
            "active_devices": 34,
            "heard_devices": 33,
            "fresh_devices": 32,
            "fresh_share": 0.941176,
            "age": _seconds(12.4, 31.0, 44.8, 2396.0),
            "oldest_age_seconds": 2396.0,
        },
        "objective": {
            "objective_share": 0.95,
            **_SHARE,
            "burn_rates": [
                {"window_seconds": 3600, **_SHARE, "burn_rate": 1.176},
                {
                    "window_seconds": 21_600,
                    "samples": 72,
                    "fresh_share": 0.966503,
                    "burn_rate": 0.67,
                },
                {
                    "window_seconds": 259_200,
                    "samples": 864,
                    "fresh_share": 0.968205,
                    "burn_rate": 0.636,
                },
            ],
        },
        "cycles": {
            "outcomes": {"completed": 11, "timed_out": 1},
            "slots": 12,
            "completed_slots": 11,
            "success_share": 0.916667,
            "duration": _seconds(2.0, 3.3, 3.9, 300.0),
        },
        "coverage": {
            "cycle_share": 0.941176,
            "active_devices": 34,
            "covered_devices": 33,
            "covered_share": 0.970588,
        },
        "updates": {
            "accepted": 5120,
            "duplicates": 0,
            "refused": [
                {
                    "outcome": "rejected",
                    "reason": "future_timestamp",
                    "signal": "soc_percent",
                    "occurrences": 12,
                }
            ],
        },
        "streams": [{"provider_id": "live", "known_seconds": 3600.0, "open_share": 0.998333}],
        "coalescing": {
            "frames": 20_480,
            "frame_updates": 5120,
            "frames_per_update": 4.0,
            "records": 0,
            "record_updates": 0,
            "records_per_update": None,
        },
        "lag": {
            "observed_to_provider": _seconds(0.91, 1.3, 1.6, 2.4),
            "provider_to_received": _seconds(0.16, 0.3, 0.43, 0.91),
            "observed_to_received": _seconds(1.1, 1.6, 2.0, 3.0),
            "received_to_committed": _seconds(1.1, 1.3, 1.5, 2.0),
            "observed_to_committed": _seconds(2.2, 2.7, 3.3, 4.7),
        },
        "hours": [
            {**_HOUR, **_SHARE, "cycle_coverage_share": 0.941176, "success_share": 0.916667},
        ],
    }
)
