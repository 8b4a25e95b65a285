-- Partitions. storage/upkeep.py builds the statements with a computed table name.

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
