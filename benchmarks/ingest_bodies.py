"""Bodies for `POST /ingest`: one update of each of some devices."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from benchmarks.load import SIGNALS
from benchmarks.names import PROVIDER

if TYPE_CHECKING:
    from collections.abc import Iterable


def make_batch(workspace_id: str, device_ids: Iterable[str]) -> dict[str, Any]:
    """Return one update of each of these devices, observed now."""
    observed_at = datetime.now(UTC).isoformat()
    readings = [{"signal": signal, "value": 50.5, "observed_at": observed_at} for signal in SIGNALS]
    return {
        "updates": [
            {
                "workspace_id": workspace_id,
                "provider_id": PROVIDER,
                "device_id": device_id,
                "readings": readings,
            }
            for device_id in device_ids
        ]
    }
