"""A fleet in a database for the benchmark of live pages: made, heard and changed by SQL.

Owns the statements. The fleet is spread evenly over its workspaces; every device has one connection
that is polled. Nothing of it goes through the product, so what the product's process costs is that
of the pages.
"""

from __future__ import annotations

from typing import Final

PROVIDER: Final = "bench"
# $1: workspaces, $2: devices of each.
WORKSPACES: Final = """
    INSERT INTO workspaces (workspace_id, name, ordinal, scheduled_since)
    SELECT 'w' || w, 'Workspace ' || w, w, clock_timestamp() FROM generate_series(0, $1 - 1) AS w
"""
CONNECTIONS: Final = f"""
    WITH made AS (
        INSERT INTO providers (workspace_id, provider_id, provider_type, transport, base_url)
        SELECT 'w' || w, '{PROVIDER}', 'viriciti', 'poll', 'http://127.0.0.1:9'
        FROM generate_series(0, $1 - 1) AS w
        RETURNING workspace_id, provider_id
    )
    INSERT INTO connection_state (workspace_id, provider_id, call_status, call_begun_at,
                                  call_ended_at, last_success_at)
    SELECT workspace_id, provider_id, 'succeeded', clock_timestamp(), clock_timestamp(),
           clock_timestamp()
    FROM made
"""
DEVICES: Final = f"""
    WITH made AS (
        INSERT INTO devices (workspace_id, device_id, provider_id, external_id, external_key,
                             vehicle_id, vehicle_name, activated_at)
        SELECT 'w' || w, 'd' || d, '{PROVIDER}', 'd' || d, 'd' || d, 'v' || d, 'Bus ' || d,
               clock_timestamp() - interval '1 day'
        FROM generate_series(0, $1 - 1) AS w, generate_series(0, $2 - 1) AS d
        RETURNING workspace_id, device_id
    ), states AS (
        INSERT INTO device_state (workspace_id, device_id)
        SELECT workspace_id, device_id FROM made
    ), assigned AS (
        INSERT INTO assignments (workspace_id, device_id, assignment, provider_id, external_id,
                                 external_key, vehicle_id, vehicle_name, effective_at)
        SELECT workspace_id, device_id, 1, '{PROVIDER}', device_id, device_id, device_id,
               'Bus ' || substr(device_id, 2), clock_timestamp() - interval '1 day'
        FROM made
    )
    INSERT INTO snapshots (workspace_id, device_id, document)
    SELECT workspace_id, device_id, '{{}}' FROM made
"""
# What a share of the devices sent: each of them once in $1 turns, in turn $2.
HEAR: Final = """
    WITH heard AS (
        UPDATE device_state s
        SET last_update_received_at = moment.at, last_observed_at = moment.at,
            last_changed_at = moment.at, version = version + 1
        FROM (SELECT clock_timestamp() AS at) AS moment
        WHERE mod(abs(hashtext(s.workspace_id || s.device_id)), $1::integer) = $2::integer
        RETURNING s.workspace_id, s.device_id,
                  (extract(epoch FROM moment.at) * 1000000)::bigint AS micros
    )
    UPDATE snapshots n SET version = version + 1, document = format(
        '{"soc_percent": [%s, %s, 0, null, null], "speed_kmh": [%s, %s, 0, null, null],'
        ' "odometer_km": [%s, %s, 0, null, null], "position": [[52.1, 5.1], %s, 0, null, null]}',
        micros / 1000000 % 100, micros, micros / 1000000 % 80, micros, micros / 1000000, micros,
        micros)::json
    FROM heard WHERE (n.workspace_id, n.device_id) = (heard.workspace_id, heard.device_id)
"""
