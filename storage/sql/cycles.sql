-- Poll cycles. Their ends are written by the ingest unit.

-- name: take_turn_on_cycles
-- Before the session is held: whoever waits here must not keep the units of its own shard waiting as well. Not the
-- workspace's row: a long command on it would hold up the schedule.
SELECT pg_advisory_xact_lock(hashtextextended($1, 7264830914));

-- name: find_attempts
-- A completed cycle closes its slot for the schedule; a run on demand has a slot of its own.
SELECT coalesce(bool_or(outcome = 'completed' AND trigger <> 'manual'), false) AS completed,
       coalesce(max(attempt) FILTER (WHERE trigger = $3), 0) AS last_attempt
FROM poll_cycles WHERE workspace_id = $1 AND slot_start_at = $2;

-- name: start_cycle
-- DO NOTHING: another shard took this attempt between our look and now; the caller looks again.
INSERT INTO poll_cycles (workspace_id, slot_start_at, trigger, attempt, cycle_id, trace_id, shard_id, epoch, started_at,
                         outcome)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp(), 'running')
ON CONFLICT DO NOTHING
RETURNING 1;

-- name: record_missed
-- Slots that anybody has touched are left alone.
INSERT INTO poll_cycles (workspace_id, slot_start_at, trigger, attempt, cycle_id, trace_id, shard_id, epoch, outcome)
SELECT $1, i.slot_start_at, 'schedule', 1, i.cycle_id, i.cycle_id, $4, $5, 'missed'
FROM unnest($2::timestamptz[], $3::text[]) AS i (slot_start_at, cycle_id)
WHERE NOT EXISTS (SELECT FROM poll_cycles c WHERE c.workspace_id = $1 AND c.slot_start_at = i.slot_start_at)
ON CONFLICT DO NOTHING;

-- name: abandon_orphans
-- Its owner asks, who runs none: what is recorded as running, nobody will end.
WITH abandoned AS (
    UPDATE poll_cycles SET outcome = 'abandoned', ended_at = clock_timestamp()
    WHERE workspace_id = $1 AND outcome = 'running'
    RETURNING 1
)
SELECT count(*) FROM abandoned;

-- name: load_last_slot
-- Of the schedule: a run on demand stands outside it.
SELECT slot_start_at FROM poll_cycles WHERE workspace_id = $1 AND trigger <> 'manual'
ORDER BY slot_start_at DESC LIMIT 1;

-- name: take_requested_cycle
-- SKIP LOCKED: during a hand-over two shards may look at once, and one of them should go on. Who asked for the run did
-- so for the configuration of then, so it waits for an owner that has read as much.
UPDATE poll_cycles SET outcome = 'running', started_at = clock_timestamp(), shard_id = $2, epoch = $3
WHERE (workspace_id, cycle_id) = (
    SELECT workspace_id, cycle_id FROM poll_cycles WHERE workspace_id = $1 AND outcome = 'requested'
    AND EXISTS (SELECT FROM workspaces w WHERE w.workspace_id = $1 AND w.config_version = $4)
    ORDER BY requested_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING workspace_id, slot_start_at, trigger, attempt, cycle_id, trace_id;
