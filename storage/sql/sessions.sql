-- A shard's own rows: one session, one heartbeat.

-- name: begin_session
-- Waits for a unit of the former epoch that is still in flight, and makes every later unit of that
-- epoch fail. A rejoin names the epoch that it follows, so that it never takes the row from a later
-- boot. A newer epoch with this process's own boot_id may be followed: it is one that this process
-- began without receiving the answer. After a failover that lost data, the stored epoch may be
-- smaller, or the row may be missing. The epoch grows all the same, so that no two sessions have
-- the same name.
INSERT INTO sessions AS s (shard_id, epoch, state, boot_id)
VALUES ($1, coalesce($2::bigint, 0) + 1, 'live', $3)
ON CONFLICT (shard_id) DO UPDATE
SET epoch = greatest(s.epoch, $2) + 1, state = 'live', last_unit = 0,
    started_at = clock_timestamp(), ended_at = NULL, boot_id = excluded.boot_id
WHERE $2 IS NULL OR s.epoch <= $2 OR s.boot_id = $3
RETURNING epoch;

-- name: begin_heartbeat
-- clock_timestamp() rather than now(): the transaction may have waited in begin_session.
INSERT INTO heartbeats (shard_id, epoch, beat_at, expires_at)
VALUES ($1, $2, clock_timestamp(), clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (shard_id) DO UPDATE
SET epoch = excluded.epoch, beat_at = excluded.beat_at, expires_at = excluded.expires_at,
    statistics = '{}', draining = false
RETURNING beat_at;

-- name: beat
-- Reads the session without a lock, so a heartbeat never waits for a unit. If declare_dead updates
-- the same row first, this statement waits for it, then finds expires_at before beat_at and renews
-- nothing. draining keeps its value.
UPDATE heartbeats h
SET beat_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(secs => $3),
    statistics = $4::jsonb
FROM sessions s
WHERE h.shard_id = $1 AND h.epoch = $2 AND s.shard_id = $1 AND s.epoch = $2 AND s.state = 'live'
  AND h.expires_at >= h.beat_at
RETURNING h.beat_at;

-- name: start_draining
-- The session stays live, because it still has to commit what it holds.
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
-- The heartbeat expires now, so that successors need not wait.
UPDATE heartbeats SET expires_at = clock_timestamp() WHERE shard_id = $1 AND epoch = $2;

-- name: notify_leases
-- Sent with the commit. The notice is a hint: a shard that receives it looks now instead of in the
-- next round.
SELECT pg_notify('lastheard', 'leases');

-- name: hold_session
-- The fence for every write outside the unit. FOR SHARE makes a transaction that declares the
-- session dead wait for this one; a plain SELECT would not fence at all.
SELECT 1 FROM sessions WHERE shard_id = $1 AND epoch = $2 AND state = 'live' FOR SHARE;

-- name: load_config_versions
-- One small row for each workspace. Every shard reads all of them every few seconds.
SELECT workspace_id, config_version FROM workspaces;

-- name: load_cursors
-- Where each connection's next run begins, and when its newest roster answer was asked for.
SELECT provider_id, cursor, roster_begun_at FROM connection_state WHERE workspace_id = $1;

-- name: load_shards
-- Latest expiry first, so that live shards come first.
SELECT s.shard_id, s.epoch, s.state, s.last_unit, s.started_at, s.ended_at, h.beat_at,
       h.expires_at, h.statistics, h.draining
FROM sessions s LEFT JOIN heartbeats h ON h.shard_id = s.shard_id AND h.epoch = s.epoch
ORDER BY h.expires_at DESC NULLS LAST, s.shard_id;
