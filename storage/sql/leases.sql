-- Ownership. The resource of a workspace is 'workspace:' || workspace_id (domain/resource.py).
-- docs/ownership.md describes the protocol. Times are the database's.

-- name: look_at_members
-- Every live session with its heartbeat. clock_timestamp() is read once, so that one look judges
-- all sessions at the same instant.
SELECT clock.now, s.shard_id, s.epoch, h.draining,
       extract(epoch FROM h.expires_at - clock.now)::float8 AS seconds_left
FROM (SELECT clock_timestamp() AS now) AS clock
LEFT JOIN (sessions s JOIN heartbeats h ON h.shard_id = s.shard_id AND h.epoch = s.epoch)
    ON s.state = 'live';

-- name: look_at_leases
-- The leases of this session, and the active workspaces that no live session holds. A lease is
-- valid only while the row of its session is live and has the same epoch. If that session is dead,
-- ended or followed by a greater epoch, the lease is free, whatever its own row says.
WITH seen AS (
    SELECT w.workspace_id, w.active, w.created_at, l.token, l.shard_id, l.epoch, l.released_at,
           coalesce(s.epoch = l.epoch AND s.state = 'live', false) AS owned,
           CASE WHEN s.epoch > l.epoch THEN s.started_at ELSE s.ended_at END AS owner_ended_at
    FROM workspaces w
    LEFT JOIN leases l ON l.resource = 'workspace:' || w.workspace_id
    LEFT JOIN sessions s ON s.shard_id = l.shard_id
)
SELECT workspace_id, active, owned, token,
       extract(epoch FROM $3 - coalesce(
           CASE WHEN shard_id IS NULL THEN released_at ELSE owner_ended_at END, created_at
       ))::float8 AS free_seconds
FROM seen
WHERE CASE WHEN owned THEN shard_id = $1 AND epoch = $2 ELSE active END;

-- name: stop_expired_writers
-- Waits for the units in flight of the sessions that lock_expired will find, and holds up their later
-- ones, as stop_writers does.
SELECT FROM session_writers w JOIN sessions s ON s.shard_id = w.shard_id
JOIN heartbeats h ON h.shard_id = s.shard_id AND h.epoch = s.epoch
WHERE s.state = 'live' AND h.expires_at <= clock_timestamp() AND s.shard_id <> $1
ORDER BY w.shard_id, w.writer
FOR UPDATE OF w;

-- name: lock_expired
-- Waits for other writes of each expired session, in key order. The row of the asking session
-- is only read, never locked: its units must not wait while it waits here. The asking session must
-- itself be live with a heartbeat that has not expired: a shard that was silent as long as the
-- others must not declare them dead.
SELECT s.shard_id
FROM sessions s JOIN heartbeats h ON h.shard_id = s.shard_id AND h.epoch = s.epoch
WHERE s.state = 'live' AND h.expires_at <= clock_timestamp() AND s.shard_id <> $1
  AND EXISTS (
      SELECT FROM sessions m JOIN heartbeats b ON b.shard_id = m.shard_id AND b.epoch = m.epoch
      WHERE m.shard_id = $1 AND m.epoch = $2 AND m.state = 'live'
        AND b.expires_at > clock_timestamp()
  )
ORDER BY s.shard_id
FOR NO KEY UPDATE OF s;

-- name: declare_dead
-- A statement of its own, so that it sees a renewal that was committed while lock_expired waited; a
-- session that renewed stays live. The heartbeat is updated first, so that this statement and a
-- renewal that is under way meet on its row, and the later one finds what the earlier one wrote. An
-- expiry before beat_at means that the heartbeat can never be renewed.
WITH silenced AS (
    UPDATE heartbeats h SET expires_at = h.beat_at - interval '1 second'
    FROM sessions s
    WHERE s.shard_id = ANY ($1::text[]) AND s.state = 'live'
      AND h.shard_id = s.shard_id AND h.epoch = s.epoch AND h.expires_at <= clock_timestamp()
    RETURNING h.shard_id
)
UPDATE sessions s SET state = 'dead', ended_at = clock_timestamp()
FROM silenced
WHERE s.shard_id = silenced.shard_id
RETURNING s.shard_id, s.epoch;

-- name: make_leases
-- In key order: two shards that claim the same new workspaces may wait for each other, but cannot
-- deadlock.
INSERT INTO leases (resource)
SELECT 'workspace:' || w.workspace_id FROM workspaces w
WHERE w.workspace_id = ANY ($1::text[]) AND w.active
  AND NOT EXISTS (SELECT FROM leases l WHERE l.resource = 'workspace:' || w.workspace_id)
ORDER BY w.workspace_id
ON CONFLICT DO NOTHING;

-- name: claim_leases
-- Take the leases that are free and that no other transaction has locked. The token is compared
-- again on the locked row. Between this statement's snapshot and its lock, another shard may have
-- taken a lease and committed. For such a row PostgreSQL checks the condition again with the new
-- lease but with the old session, so "has no live owner" would still hold.
WITH free AS MATERIALIZED (
    SELECT l.resource, l.token
    FROM workspaces w
    JOIN leases l ON l.resource = 'workspace:' || w.workspace_id
    LEFT JOIN sessions s ON s.shard_id = l.shard_id AND s.epoch = l.epoch AND s.state = 'live'
    WHERE w.workspace_id = ANY ($1::text[]) AND w.active AND s.shard_id IS NULL
), taken AS (
    SELECT l.resource
    FROM leases l JOIN free ON free.resource = l.resource AND free.token = l.token
    ORDER BY l.resource
    FOR UPDATE OF l SKIP LOCKED
)
UPDATE leases l
SET shard_id = $2, epoch = $3, token = l.token + 1, acquired_at = clock_timestamp(),
    released_at = NULL
FROM taken
WHERE l.resource = taken.resource
RETURNING l.resource, l.token;

-- name: release_leases
-- Only while the lease is still this very acquisition. Locked in key order, because the same
-- release may run twice after a lost answer.
WITH held AS (
    SELECT l.resource
    FROM leases l
    JOIN unnest($3::text[], $4::bigint[]) AS i (resource, token) USING (resource, token)
    WHERE l.shard_id = $1 AND l.epoch = $2
    ORDER BY l.resource
    FOR UPDATE OF l
), released AS (
    UPDATE leases l SET shard_id = NULL, epoch = NULL, released_at = clock_timestamp()
    FROM held
    WHERE l.resource = held.resource
    RETURNING 1
)
SELECT count(*) FROM released;

-- name: load_credentials
-- References, never secrets. A workspace without credentials has an empty list.
SELECT w.workspace_id,
       coalesce(
           array_agg(DISTINCT p.credential) FILTER (WHERE p.credential IS NOT NULL), '{}'
       ) AS credentials
FROM workspaces w LEFT JOIN providers p ON p.workspace_id = w.workspace_id AND p.active
WHERE w.active
GROUP BY w.workspace_id;
