"""One workspace with devices of every kind, made by SQL, and what their states must be.

Owns the fleet and the independent computation of its counts: it knows each device's limits by its
number, and compares them with the stored times at an instant. Of a hundred devices one has a stale
limit of its own, two are retired, two were never heard, three are late; the others were heard
within the last 300 seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks.names import HEALTH, PROVIDER
from benchmarks.place import fetch

if TYPE_CHECKING:
    from datetime import datetime

PERIOD_SECONDS: Final = 300  # each device reports once in so long
_NUMBER = "substr(device_id, 5)::integer"

_WORKSPACE = f"""
    INSERT INTO workspaces (workspace_id, name, ordinal, scheduled_since)
    VALUES ('{HEALTH}', 'Fleet', 0, clock_timestamp())"""
_CONNECTION = f"""
    WITH made AS (
        INSERT INTO providers (workspace_id, provider_id, provider_type, transport, base_url,
                               active)
        VALUES ('{HEALTH}', '{PROVIDER}', 'viriciti', 'stream', 'http://127.0.0.1:9', false)
        RETURNING workspace_id, provider_id)
    INSERT INTO connection_state (workspace_id, provider_id)
    SELECT workspace_id, provider_id FROM made"""
_DEVICES = f"""
    WITH made AS (
        INSERT INTO devices (workspace_id, device_id, provider_id, external_id, external_key,
                             vehicle_id, vehicle_name, activated_at, retired_at,
                             stale_after_seconds)
        SELECT '{HEALTH}', name, '{PROVIDER}', name, name, 'v' || name, 'Bus ' || name,
               clock_timestamp() - CASE n % 100 WHEN 2 THEN interval '9 days'
                                                WHEN 3 THEN interval '0'
                                                ELSE interval '90 days' END,
               CASE WHEN n % 50 = 1 THEN clock_timestamp() END,
               CASE WHEN n % 100 = 0 THEN 1800 END
        FROM (SELECT n, 'bus-' || to_char(n, 'FM000000') AS name
              FROM generate_series(0, $1::integer - 1) AS n) AS named
        RETURNING workspace_id, device_id
    ), assigned AS (
        INSERT INTO assignments (workspace_id, device_id, assignment, provider_id, external_id,
                                 external_key, vehicle_id, vehicle_name, effective_at)
        SELECT workspace_id, device_id, 1, '{PROVIDER}', device_id, device_id, 'v' || device_id,
               'Bus ' || device_id, clock_timestamp() - interval '90 days'
        FROM made
    ), states AS (
        INSERT INTO device_state (workspace_id, device_id, version, last_update_received_at,
                                  last_observed_at, last_changed_at)
        SELECT workspace_id, device_id, (at IS NOT NULL)::integer, at, at, at
        FROM (SELECT workspace_id, device_id,
                     clock_timestamp() - CASE {_NUMBER} % 100
                         WHEN 2 THEN NULL WHEN 3 THEN NULL
                         WHEN 4 THEN interval '1 hour' + random() * interval '30 days'
                         WHEN 5 THEN interval '10 minutes'
                         WHEN 0 THEN interval '25 minutes'
                         ELSE random() * interval '{PERIOD_SECONDS} seconds' END AS at
              FROM made) AS heard
        RETURNING workspace_id, device_id, version,
                  (extract(epoch FROM last_update_received_at) * 1000000)::bigint AS micros
    )
    INSERT INTO snapshots (workspace_id, device_id, version, document)
    SELECT workspace_id, device_id, version, CASE WHEN micros IS NULL THEN '{{}}' ELSE format(
        '{{"soc_percent": [50.5, %s, 0, null, null], "speed_kmh": [31.5, %s, 0, null, null],'
        ' "odometer_km": [90210.5, %s, 0, null, null],'
        ' "position": [[52.1, 5.1], %s, 0, null, null]}}',
        micros, micros, micros, micros) END::json
    FROM states"""

# The limits are those of a workspace without a policy of its own, but for the devices with one.
COUNTED: Final = f"""
    SELECT CASE WHEN received_at IS NULL THEN
                    CASE WHEN age > 3600 THEN 'configured-no-data' ELSE 'awaiting-first-data' END
                WHEN age > CASE WHEN number % 100 = 0 THEN 1800 ELSE 900 END THEN 'stale'
                WHEN age > 360 THEN 'delayed' ELSE 'healthy' END AS state, count(*)
    FROM (SELECT {_NUMBER} AS number, last_update_received_at AS received_at,
                 extract(epoch FROM $1::timestamptz - coalesce(last_update_received_at,
                     (SELECT activated_at FROM devices d WHERE d.workspace_id = s.workspace_id
                         AND d.device_id = s.device_id))) AS age
          FROM device_state s WHERE workspace_id = '{HEALTH}') AS aged
    WHERE number % 50 <> 1
    GROUP BY 1"""


async def store_fleet(dsn: str, devices: int) -> None:
    """Store the workspace with so many devices."""
    await fetch(dsn, _WORKSPACE)
    await fetch(dsn, _CONNECTION)
    await fetch(dsn, _DEVICES, devices)
    await fetch(dsn, "VACUUM ANALYZE")


async def count_independently(dsn: str, at: datetime) -> dict[str, int]:
    """Return how many devices are in which state at the instant, by the rows as they are now."""
    return dict(await fetch(dsn, COUNTED, at))


def check_first_page(answer: dict[str, Any], devices: int, limit: int) -> list[str]:
    """Return what is wrong with the first page by device, apart from its counts."""
    shown = [item["device_id"] for item in answer["items"]]
    kept = [f"bus-{n:06d}" for n in range(devices) if n % 50 != 1][:limit]
    return [] if shown == kept else [f"health shows {shown[:3]} … instead of {kept[:3]} …"]


def check_issues(answer: dict[str, Any], limit: int) -> list[str]:
    """Return what is wrong with a first page of issues, apart from its counts."""
    items, counts = answer["items"], answer["counts"]
    away = [item["away_for_seconds"] or item["silent_for_seconds"] for item in items]
    late = counts["stale"] + counts["configured-no-data"]
    faults = [] if len(items) == min(late, limit) else [f"{len(items)} issues of {late}"]
    if {item["state"] for item in items} - {"stale", "configured-no-data"}:
        faults.append("an issue is neither stale nor without data")
    return faults + ([] if away == sorted(away, reverse=True) else ["issues out of order"])
