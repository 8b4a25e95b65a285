-- Find the rows that a unit could not lock, for storage/unit/locks.py. Each statement takes the
-- same lock as one statement of the unit, on every row where that lock is free. It does not wait.
-- It returns the other rows, each with the transaction (or the multixact) that holds it.

-- name: find_locked_device_states
-- Takes the lock of lock_devices.
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::text[]) AS k (workspace_id, device_id)
), free AS (
    SELECT s.workspace_id, s.device_id
    FROM wanted JOIN device_state s USING (workspace_id, device_id)
    FOR UPDATE OF s SKIP LOCKED
)
SELECT s.workspace_id, s.device_id AS name, s.xmax::text AS holder
FROM wanted JOIN device_state s USING (workspace_id, device_id)
WHERE (s.workspace_id, s.device_id) NOT IN (SELECT workspace_id, device_id FROM free);

-- name: find_locked_snapshots
-- Takes the lock of write_snapshots. lock_devices does not take it, so a unit may find a snapshot
-- locked only when it writes.
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::text[]) AS k (workspace_id, device_id)
), free AS (
    SELECT n.workspace_id, n.device_id FROM wanted JOIN snapshots n USING (workspace_id, device_id)
    FOR NO KEY UPDATE OF n SKIP LOCKED
)
SELECT n.workspace_id, n.device_id AS name, n.xmax::text AS holder
FROM wanted JOIN snapshots n USING (workspace_id, device_id)
WHERE (n.workspace_id, n.device_id) NOT IN (SELECT workspace_id, device_id FROM free);

-- name: find_locked_connections
-- Takes the lock of lock_connections.
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::text[]) AS k (workspace_id, provider_id)
), free AS (
    SELECT c.workspace_id, c.provider_id
    FROM wanted JOIN connection_state c USING (workspace_id, provider_id)
    FOR UPDATE OF c SKIP LOCKED
)
SELECT c.workspace_id, c.provider_id AS name, c.xmax::text AS holder
FROM wanted JOIN connection_state c USING (workspace_id, provider_id)
WHERE (c.workspace_id, c.provider_id) NOT IN (SELECT workspace_id, provider_id FROM free);

-- name: find_locked_cycles
-- Takes the lock of end_cycles.
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::text[]) AS k (workspace_id, cycle_id)
), free AS (
    SELECT c.workspace_id, c.cycle_id FROM wanted JOIN poll_cycles c USING (workspace_id, cycle_id)
    FOR NO KEY UPDATE OF c SKIP LOCKED
)
SELECT c.workspace_id, c.cycle_id AS name, c.xmax::text AS holder
FROM wanted JOIN poll_cycles c USING (workspace_id, cycle_id)
WHERE (c.workspace_id, c.cycle_id) NOT IN (SELECT workspace_id, cycle_id FROM free);
