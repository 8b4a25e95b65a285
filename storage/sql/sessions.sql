-- A shard's own rows: one session, one heartbeat.

-- name: begin_session
-- Waits for a unit of the former epoch that is still in flight, and makes every later one of it fail. A rejoin names
-- the epoch it follows, so that it never takes the row from a later boot; a newer epoch of its own boot is one whose
-- answer got lost. After a failover that lost data the stored epoch may be smaller, or the row gone: epochs grow all the
-- same, so that no two sessions bear one name.
INSERT INTO sessions AS s (shard_id, epoch, state, boot_id) VALUES ($1, coalesce($2::bigint, 0) + 1, 'live', $3)
ON CONFLICT (shard_id) DO UPDATE
SET epoch = greatest(s.epoch, $2) + 1, state = 'live', last_unit = 0, started_at = clock_timestamp(), ended_at = NULL,
    boot_id = excluded.boot_id
WHERE $2 IS NULL OR s.epoch <= $2 OR s.boot_id = $3
RETURNING epoch;

-- name: begin_heartbeat
-- clock_timestamp(), not now(): the transaction may have waited above.
INSERT INTO heartbeats (shard_id, epoch, beat_at, expires_at)
VALUES ($1, $2, clock_timestamp(), clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (shard_id) DO UPDATE
SET epoch = excluded.epoch, beat_at = excluded.beat_at, expires_at = excluded.expires_at, statistics = '{}',
    draining = false
RETURNING beat_at;

-- name: beat
-- Reads the session without a lock, so a heartbeat never waits for a unit. Who is being declared dead meanwhile finds
-- its own row changed, and what declare_dead left there. Who drains goes on draining.
UPDATE heartbeats h
SET beat_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(secs => $3), statistics = $4::jsonb
FROM sessions s
WHERE h.shard_id = $1 AND h.epoch = $2 AND s.shard_id = $1 AND s.epoch = $2 AND s.state = 'live'
  AND h.expires_at >= h.beat_at
RETURNING h.beat_at;

-- name: start_draining
-- It stays live: what it still holds has to be committed.
UPDATE heartbeats h SET draining = true
FROM sessions s
WHERE h.shard_id = $1 AND h.epoch = $2 AND s.shard_id = $1 AND s.epoch = $2 AND s.state = 'live'
RETURNING 1;

-- name: end_session
-- A session that was declared dead stays dead.
UPDATE sessions SET state = 'ended', ended_at = clock_timestamp()
WHERE shard_id = $1 AND epoch = $2 AND state = 'live'
RETURNING 1;

-- name: end_heartbeat
-- Successors need not wait for the expiry.
UPDATE heartbeats SET expires_at = clock_timestamp() WHERE shard_id = $1 AND epoch = $2;

-- name: notify_leases
-- Goes out with the commit. A hint: whoever gets it looks now instead of in the next round.
SELECT pg_notify('lastheard', 'leases');

-- name: hold_session
-- The fence of everything outside the unit. FOR SHARE: whoever declares the session dead waits for us; a plain
-- SELECT would not fence at all.
SELECT 1 FROM sessions WHERE shard_id = $1 AND epoch = $2 AND state = 'live' FOR SHARE;

-- name: load_config_versions
-- A small row each; every shard reads them every few seconds.
SELECT workspace_id, config_version FROM workspaces;

-- name: load_cursors
-- Where each connection's next run begins.
SELECT provider_id, cursor FROM connection_state WHERE workspace_id = $1 AND cursor IS NOT NULL;

-- name: load_shards
-- Newest first, so that the living stand on top.
SELECT s.shard_id, s.epoch, s.state, s.last_unit, s.started_at, s.ended_at, h.beat_at, h.expires_at, h.statistics,
       h.draining
FROM sessions s LEFT JOIN heartbeats h ON h.shard_id = s.shard_id AND h.epoch = s.epoch
ORDER BY h.expires_at DESC NULLS LAST, s.shard_id;
