-- Partitions and retention. storage/upkeep.py builds the statements with a computed table name.

-- name: list_partitions
-- From the catalogue, which is true however a partition was created or dropped.
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'events'::regclass ORDER BY c.relname;

-- name: lock_upkeep
-- Two shards may start at once; the second finds the work done.
SELECT pg_advisory_xact_lock(7264830913);

-- name: try_lock_chore
-- One lock for each chore, held for one batch. Shards that delete side by side would only wait for
-- each other's rows.
SELECT pg_try_advisory_xact_lock(726483091, hashtext($1));

-- name: read_today
-- The database's day, because partitions are cut by the database's clock.
SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date;

-- name: drop_old_cycles
-- In short batches, because a long delete would hold back vacuum for every table. now() rather than
-- clock_timestamp(), which may change from row to row, so that the index could not serve the
-- comparison.
WITH dropped AS (
    DELETE FROM poll_cycles WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM poll_cycles
        WHERE slot_start_at < now() - make_interval(days => $1)
          AND outcome NOT IN ('requested', 'running')
        LIMIT $2))
    RETURNING 1
)
SELECT count(*) FROM dropped;

-- name: drop_old_rejections
-- In short batches and with now(), for the reasons of drop_old_cycles.
WITH dropped AS (
    DELETE FROM rejections WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM rejections WHERE recorded_at < now() - make_interval(days => $1) LIMIT $2))
    RETURNING 1
)
SELECT count(*) FROM dropped;

-- name: drop_old_connection_events
-- In short batches and with now(), for the reasons of drop_old_cycles. The present state of a
-- connection is in connection_state, however long ago it began.
WITH dropped AS (
    DELETE FROM connection_events WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM connection_events WHERE at < now() - make_interval(days => $1) LIMIT $2))
    RETURNING 1
)
SELECT count(*) FROM dropped;

-- name: drop_old_device_events
-- In short batches and with now(), for the reasons of drop_old_cycles. The present state of a device
-- is in device_state, however long ago it began.
WITH dropped AS (
    DELETE FROM device_events WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM device_events WHERE at < now() - make_interval(days => $1) LIMIT $2))
    RETURNING 1
)
SELECT count(*) FROM dropped;

-- name: drop_old_quarantine
-- In short batches and with now(), for the reasons of drop_old_cycles.
WITH dropped AS (
    DELETE FROM quarantine WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM quarantine WHERE recorded_at < now() - make_interval(days => $1) LIMIT $2))
    RETURNING 1
)
SELECT count(*) FROM dropped;
