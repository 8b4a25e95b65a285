"""Migration 0010 on ids that become the same once spaces and the case of VINs do not count."""

from __future__ import annotations

import trio

from storage.migrations import migrate, migrate_blocking
from tests.conftest import execute, fetch

# t-2 was heard last of those whose VIN is the same, and t-4 is retired.
ROWS = """
INSERT INTO workspaces (workspace_id, name, ordinal) VALUES ('harbour', 'Harbour', 0);
INSERT INTO providers (workspace_id, provider_id, provider_type, transport, base_url)
VALUES ('harbour', 'trucks', 'rfms', 'poll', 'https://a.example'),
       ('harbour', 'buses', 'viriciti', 'stream', 'https://b.example');
INSERT INTO devices (workspace_id, device_id, provider_id, external_id, vehicle_id, vehicle_name,
                     retired_at)
VALUES ('harbour', 't-1', 'trucks', 'vin1', 'v-1', 'V 1', NULL),
       ('harbour', 't-2', 'trucks', ' VIN1 ', 'v-2', 'V 2', NULL),
       ('harbour', 't-3', 'trucks', 'Vin1', 'v-3', 'V 3', NULL),
       ('harbour', 't-4', 'trucks', 'VIN1', 'v-4', 'V 4', now()),
       ('harbour', 'b-1', 'buses', 'x1', 'v-5', 'V 5', NULL),
       ('harbour', 'b-2', 'buses', 'X1', 'v-6', 'V 6', NULL),
       ('harbour', 'b-3', 'buses', 'x1 ', 'v-7', 'V 7', NULL);
INSERT INTO device_state (workspace_id, device_id, last_update_received_at)
SELECT workspace_id, device_id, CASE device_id WHEN 't-2' THEN now() - interval '1 minute'
                                               WHEN 't-3' THEN now() - interval '1 hour' END
FROM devices;
INSERT INTO snapshots (workspace_id, device_id) SELECT workspace_id, device_id FROM devices;
"""


async def test_ids_that_become_the_same_are_told_apart(empty_dsn: str) -> None:
    def fill() -> None:
        migrate_blocking(empty_dsn, "0004")
        execute(empty_dsn, ROWS)

    await trio.to_thread.run_sync(fill)
    await migrate(empty_dsn)
    query = "SELECT device_id, external_id, external_key FROM devices ORDER BY device_id"
    rows = await trio.to_thread.run_sync(fetch, empty_dsn, query)
    assert {row["device_id"]: row["external_key"] for row in rows} == {
        "b-1": "x1",
        "b-2": "X1",
        "b-3": "x1 (b-3)",
        "t-1": "VIN1 (t-1)",
        "t-2": "VIN1",
        "t-3": "VIN1 (t-3)",
        "t-4": "VIN1",
    }
    assert {row["external_id"] for row in rows} >= {"vin1", " VIN1 ", "x1 "}, "as configured"
