-- Which rows a unit could not lock, as storage/unit_locks.py asks. Each statement takes the same lock as one statement of
-- the unit, on every row it is free on, waits for nothing, and returns the other rows with the transaction (or the
-- multixact) that holds each.

-- name: find_locked_device_states
-- The lock of lock_devices.
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::text[]) AS k (workspace_id, device_id)
), free AS (
    SELECT s.workspace_id, s.device_id FROM wanted JOIN device_state s USING (workspace_id, device_id)
    FOR UPDATE OF s SKIP LOCKED
)
SELECT s.workspace_id, s.device_id, s.xmax::text
FROM wanted JOIN device_state s USING (workspace_id, device_id)
WHERE (s.workspace_id, s.device_id) NOT IN (SELECT workspace_id, device_id FROM free);

-- name: find_locked_snapshots
-- The lock of write_snapshots. lock_devices does not take it, so a unit may meet it late.
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::text[]) AS k (workspace_id, device_id)
), free AS (
    SELECT n.workspace_id, n.device_id FROM wanted JOIN snapshots n USING (workspace_id, device_id)
    FOR NO KEY UPDATE OF n SKIP LOCKED
)
SELECT n.workspace_id, n.device_id, n.xmax::text
FROM wanted JOIN snapshots n USING (workspace_id, device_id)
WHERE (n.workspace_id, n.device_id) NOT IN (SELECT workspace_id, device_id FROM free);

-- name: find_locked_connections
-- The lock of lock_connections.
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::text[]) AS k (workspace_id, provider_id)
), free AS (
    SELECT c.workspace_id, c.provider_id FROM wanted JOIN connection_state c USING (workspace_id, provider_id)
    FOR UPDATE OF c SKIP LOCKED
)
SELECT c.workspace_id, c.provider_id, c.xmax::text
FROM wanted JOIN connection_state c USING (workspace_id, provider_id)
WHERE (c.workspace_id, c.provider_id) NOT IN (SELECT workspace_id, provider_id FROM free);

-- name: find_locked_cycles
-- The lock of end_cycles.
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::text[]) AS k (workspace_id, cycle_id)
), free AS (
    SELECT c.workspace_id, c.cycle_id FROM wanted JOIN poll_cycles c USING (workspace_id, cycle_id)
    FOR NO KEY UPDATE OF c SKIP LOCKED
)
SELECT c.workspace_id, c.cycle_id, c.xmax::text
FROM wanted JOIN poll_cycles c USING (workspace_id, cycle_id)
WHERE (c.workspace_id, c.cycle_id) NOT IN (SELECT workspace_id, cycle_id FROM free);
