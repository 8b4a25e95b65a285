-- A shard's own rows: one session, one heartbeat.

-- name: stop_writers
-- Waits for the units of the former epoch that are in flight, and holds up every later one. A unit
-- takes its writer's row first, so no unit can pass the fence from here on. Waiting for the session's
-- row alone could take for ever: units of two writers overlap, and PostgreSQL grants share locks
-- beside those that are held, past a transaction that waits for all of them.
SELECT FROM session_writers WHERE shard_id = $1 ORDER BY writer FOR UPDATE;

-- name: begin_session
-- Makes every later unit of the former epoch fail. A rejoin names the epoch that it follows, so
-- that it never takes the row from a later boot. A newer epoch with this process's own boot_id may
-- be followed: it is one that this process began without receiving the answer. After a failover
-- that lost data, the stored epoch may be smaller, or the row may be missing. The epoch grows all
-- the same, so that no two sessions have the same name.
INSERT INTO sessions AS s (shard_id, epoch, state, boot_id)
VALUES ($1, coalesce($2::bigint, 0) + 1, 'live', $3)
ON CONFLICT (shard_id) DO UPDATE
SET epoch = greatest(s.epoch, $2) + 1, state = 'live', last_unit = 0,
    started_at = clock_timestamp(), ended_at = NULL, boot_id = excluded.boot_id
WHERE $2 IS NULL OR s.epoch <= $2 OR s.boot_id = $3
RETURNING epoch;

-- name: begin_writers
-- A row for each writer that a release may use, made before its first unit: a unit in doubt is asked
-- for by its row. Units are numbered anew.
INSERT INTO session_writers (shard_id, writer, epoch)
SELECT $1, writer, $2 FROM generate_series(0, $3::integer - 1) AS writer
ON CONFLICT (shard_id, writer) DO UPDATE SET epoch = excluded.epoch, last_unit = 0;

-- name: begin_heartbeat
-- clock_timestamp() rather than now(): the transaction may have waited in begin_session.
-- was_live is read from before the write: a session that ended in order has expired.
WITH former AS (
    SELECT FROM heartbeats WHERE shard_id = $1 AND expires_at > clock_timestamp()
)
INSERT INTO heartbeats (shard_id, epoch, beat_at, expires_at, draining)
VALUES ($1, $2, clock_timestamp(), clock_timestamp() + make_interval(secs => $3), $4)
ON CONFLICT (shard_id) DO UPDATE
SET epoch = excluded.epoch, beat_at = excluded.beat_at, expires_at = excluded.expires_at,
    statistics = '{}', draining = excluded.draining
RETURNING beat_at, EXISTS (SELECT FROM former) AS was_live;

-- name: beat
-- Reads the session without a lock, so a heartbeat never waits for a unit. If declare_dead updates
-- the same row first, this statement waits for it, then finds expires_at before beat_at and renews
-- nothing. draining keeps its value.
-- An edge of a backlog is told by the statistics before and after, so a beat that runs twice writes
-- it once.
WITH former AS (
    SELECT statistics FROM heartbeats WHERE shard_id = :shard_id AND epoch = :epoch
), renewed AS (
    UPDATE heartbeats h
    SET beat_at = clock_timestamp(),
        expires_at = clock_timestamp() + make_interval(secs => :ttl_seconds),
        statistics = :statistics::jsonb
    FROM sessions s
    WHERE h.shard_id = :shard_id AND h.epoch = :epoch
      AND s.shard_id = :shard_id AND s.epoch = :epoch AND s.state = 'live'
      AND h.expires_at >= h.beat_at
    RETURNING h.beat_at
), waits AS (
    SELECT NULL AS workspace_id,
           (former.statistics ->> 'oldest_waiting_seconds')::float8 AS before,
           (:statistics::jsonb ->> 'oldest_waiting_seconds')::float8 AS seconds
    FROM former
    UNION ALL
    SELECT workspace_id, o.seconds::float8, n.seconds::float8
    FROM jsonb_each_text((SELECT statistics -> 'deferred_seconds' FROM former))
        AS o (workspace_id, seconds)
    FULL JOIN jsonb_each_text(:statistics::jsonb -> 'deferred_seconds')
        AS n (workspace_id, seconds) USING (workspace_id)
), edges AS (
    INSERT INTO backlog_events (shard_id, epoch, workspace_id, at, kind, waiting_seconds)
    SELECT :shard_id, :epoch, workspace_id, beat_at,
           CASE WHEN seconds > :max_seconds THEN 'backlog_begun' ELSE 'backlog_ended' END,
           coalesce(seconds, 0)
    FROM renewed CROSS JOIN waits
    WHERE (coalesce(seconds, 0) > :max_seconds) <> (coalesce(before, 0) > :max_seconds)
)
SELECT beat_at FROM renewed;

-- name: end_backlogs
-- Of sessions that are over: what waited there is stored elsewhere, or lost.
INSERT INTO backlog_events (shard_id, epoch, workspace_id, at, kind)
SELECT shard_id, epoch, workspace_id, clock_timestamp(), 'backlog_ended'
FROM (
    SELECT DISTINCT ON (shard_id, workspace_id) shard_id, epoch, workspace_id, kind
    FROM backlog_events WHERE shard_id = ANY ($1::text[])
    ORDER BY shard_id, workspace_id, event_id DESC
) AS newest
WHERE kind = 'backlog_begun';

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

-- name: load_shards
-- Latest expiry first, so that live shards come first.
-- A release without rows of its writers has the number of its last unit in sessions.
SELECT s.shard_id, s.epoch, s.state, greatest(s.last_unit, w.last_unit) AS last_unit,
       s.started_at, s.ended_at, h.beat_at, h.expires_at, h.statistics, h.draining
FROM sessions s LEFT JOIN heartbeats h ON h.shard_id = s.shard_id AND h.epoch = s.epoch
LEFT JOIN LATERAL (
    SELECT max(last_unit) AS last_unit FROM session_writers
    WHERE shard_id = s.shard_id AND epoch = s.epoch
) AS w ON true
ORDER BY h.expires_at DESC NULLS LAST, s.shard_id;
