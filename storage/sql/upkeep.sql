-- Partitions and retention. Statements with a computed table name are made in storage/upkeep.py.

-- name: list_partitions
-- From the catalogue, so that it is true whoever made or dropped them.
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'events'::regclass ORDER BY c.relname;

-- name: lock_upkeep
-- Two shards may start at once; the second finds the work done.
SELECT pg_advisory_xact_lock(7264830913);

-- name: try_lock_chore
-- One lock for each chore, for a batch at a time: shards that delete side by side would only wait for each other's rows.
SELECT pg_try_advisory_xact_lock(726483091, hashtext($1));

-- name: read_today
-- The database's day: partitions are cut by its clock.
SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date;

-- name: drop_old_cycles
-- In batches, each short: a long delete would hold back vacuum for every table. now(), since the index is of no use for
-- a comparison with clock_timestamp(), which may change from row to row.
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
-- As above.
WITH dropped AS (
    DELETE FROM rejections WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM rejections WHERE recorded_at < now() - make_interval(days => $1) LIMIT $2))
    RETURNING 1
)
SELECT count(*) FROM dropped;

-- name: drop_old_connection_events
-- As above. How a connection is now stands in connection_state, however long ago that began.
WITH dropped AS (
    DELETE FROM connection_events WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM connection_events WHERE at < now() - make_interval(days => $1) LIMIT $2))
    RETURNING 1
)
SELECT count(*) FROM dropped;

-- name: drop_old_quarantine
-- As above.
WITH dropped AS (
    DELETE FROM quarantine WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM quarantine WHERE recorded_at < now() - make_interval(days => $1) LIMIT $2))
    RETURNING 1
)
SELECT count(*) FROM dropped;
