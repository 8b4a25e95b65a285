-- Poll cycles. The ingest unit writes how they end.

-- name: take_turn_on_cycles
-- Runs before hold_session: a transaction that waits here must not hold its session's row, because
-- the units of its own shard would wait for it too. An advisory lock rather than the workspace's
-- row: a long command on that row would hold up the schedule.
SELECT pg_advisory_xact_lock(hashtextextended($1, 7264830914));

-- name: take_free_turns_on_cycles
-- As take_turn_on_cycles, for many workspaces, without a wait: one of them must not hold up the
-- others. Nor must a lock on a row of one of them, for longer than a unit may take.
SELECT k.workspace_id, set_config('lock_timeout', '500ms', true),
       pg_try_advisory_xact_lock(hashtextextended(k.workspace_id, 7264830914)) AS is_taken
FROM unnest($1::text[]) AS k (workspace_id);

-- name: find_attempts
-- Of each slot and trigger, in the order asked. A completed cycle closes its slot for the schedule.
-- A run on demand does not: it has a slot of its own.
SELECT a.completed, a.last_attempt
FROM unnest($1::text[], $2::timestamptz[], $3::text[]) WITH ORDINALITY
    AS k (workspace_id, slot_start_at, trigger, place)
CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(c.outcome = 'completed' AND c.trigger <> 'manual'), false) AS completed,
           coalesce(max(c.attempt) FILTER (WHERE c.trigger = k.trigger), 0) AS last_attempt
    FROM poll_cycles c
    WHERE c.workspace_id = k.workspace_id AND c.slot_start_at = k.slot_start_at
) AS a
ORDER BY k.place;

-- name: start_cycles
-- A cycle may be recorded before it is due. One that is skipped ends as it starts, when it was due:
-- it may be recorded later. DO NOTHING: another shard took this attempt after find_attempts, and the
-- caller looks again.
WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() AS now
)
INSERT INTO poll_cycles (workspace_id, slot_start_at, trigger, attempt, cycle_id, trace_id,
                         shard_id, epoch, started_at, ended_at, outcome, summary, active_devices,
                         fresh_devices, updated_devices)
SELECT i.workspace_id, i.slot_start_at, i.trigger, i.attempt, i.cycle_id, i.trace_id,
       :shard_id, :epoch,
       CASE WHEN i.outcome = 'skipped' AND i.due_at IS NOT NULL THEN i.due_at
            ELSE greatest(i.due_at, moment.now) END,
       CASE WHEN i.outcome = 'skipped' THEN coalesce(i.due_at, moment.now) END,
       i.outcome, i.summary, i.active_devices, i.fresh_devices, i.updated_devices
FROM unnest(:workspace_ids::text[], :slots::timestamptz[], :triggers::text[], :attempts::integer[],
            :cycle_ids::text[], :trace_ids::text[], :due_at::timestamptz[], :outcomes::text[],
            :summaries::jsonb[], :active_devices::integer[], :fresh_devices::integer[],
            :updated_devices::integer[])
    AS i (workspace_id, slot_start_at, trigger, attempt, cycle_id, trace_id, due_at, outcome,
          summary, active_devices, fresh_devices, updated_devices)
CROSS JOIN moment
ON CONFLICT DO NOTHING
RETURNING workspace_id, started_at;

-- name: count_devices_at
-- As count_devices, at the beginnings of slots that are over, from event history: device_state only
-- knows the newest update, which may have come since. Without a cycle, no polled device had news.
-- Of each workspace and slot, in the order asked.
SELECT k.at, n.active, n.fresh, n.updated
FROM unnest($1::text[], $2::timestamptz[]) WITH ORDINALITY AS k (workspace_id, at, place)
CROSS JOIN LATERAL (
    SELECT count(*) AS active,
           count(*) FILTER (WHERE e.newest
               >= k.at - make_interval(secs => w.freshness_target_seconds)) AS fresh,
           count(*) FILTER (WHERE p.transport <> 'poll' AND e.newest
               >= k.at - make_interval(secs => w.poll_interval_seconds)) AS updated
    FROM workspaces w
    JOIN assignments a ON a.workspace_id = w.workspace_id
    JOIN providers p ON p.workspace_id = a.workspace_id AND p.provider_id = a.provider_id
    LEFT JOIN LATERAL (
        SELECT v.received_at AS newest FROM events v
        WHERE v.workspace_id = a.workspace_id AND v.device_id = a.device_id
          AND v.assignment = a.assignment AND v.recorded_at <= k.at
          AND v.recorded_at >= k.at - make_interval(secs =>
                  greatest(w.freshness_target_seconds, w.poll_interval_seconds))
        ORDER BY v.recorded_at DESC, v.sequence DESC LIMIT 1
    ) AS e ON true
    WHERE w.workspace_id = k.workspace_id AND a.effective_at <= k.at
      AND (a.ended_at IS NULL OR a.ended_at > k.at)
) AS n
ORDER BY k.place;

-- name: record_missed
-- Only slots that have no cycle of any kind.
INSERT INTO poll_cycles (workspace_id, slot_start_at, trigger, attempt, cycle_id, trace_id,
                         shard_id, epoch, outcome, active_devices, fresh_devices, updated_devices)
SELECT i.workspace_id, i.slot_start_at, 'schedule', 1, i.cycle_id, i.cycle_id,
       :shard_id, :epoch, 'missed', i.active_devices, i.fresh_devices, i.updated_devices
FROM unnest(:workspace_ids::text[], :slots::timestamptz[], :cycle_ids::text[],
            :active_devices::integer[], :fresh_devices::integer[], :updated_devices::integer[])
    AS i (workspace_id, slot_start_at, cycle_id, active_devices, fresh_devices, updated_devices)
WHERE NOT EXISTS (
    SELECT FROM poll_cycles c
    WHERE c.workspace_id = i.workspace_id AND c.slot_start_at = i.slot_start_at
)
ON CONFLICT DO NOTHING;

-- name: find_orphans
-- The workspace's owner calls this while it runs no cycle. So no session will end a cycle that is
-- still recorded as running.
SELECT cycle_id, slot_start_at FROM poll_cycles WHERE workspace_id = $1 AND outcome = 'running'
ORDER BY slot_start_at;

-- name: abandon_orphans
-- Those that find_orphans found, with what count_devices counted.
UPDATE poll_cycles c
SET outcome = 'abandoned', ended_at = clock_timestamp(), active_devices = i.active_devices,
    fresh_devices = i.fresh_devices, updated_devices = i.updated_devices
FROM unnest(:cycle_ids::text[], :active_devices::integer[], :fresh_devices::integer[],
            :updated_devices::integer[])
    AS i (cycle_id, active_devices, fresh_devices, updated_devices)
WHERE c.workspace_id = :workspace_id AND c.cycle_id = i.cycle_id AND c.outcome = 'running'
RETURNING c.workspace_id, c.slot_start_at, c.trigger, c.attempt, c.cycle_id, c.trace_id, c.ended_at;

-- name: look_back
-- Of each workspace, in the order asked: whether a cycle is recorded as running or as requested, and
-- the last slot of the schedule. Runs on demand are outside the schedule.
SELECT k.workspace_id, open.has_running, open.is_requested, newest.slot_start_at AS last_slot
FROM unnest($1::text[]) WITH ORDINALITY AS k (workspace_id, place)
CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(c.outcome = 'running'), false) AS has_running,
           coalesce(bool_or(c.outcome = 'requested'), false) AS is_requested
    FROM poll_cycles c
    WHERE c.workspace_id = k.workspace_id AND c.outcome IN ('requested', 'running')
) AS open
LEFT JOIN LATERAL (
    SELECT c.slot_start_at FROM poll_cycles c
    WHERE c.workspace_id = k.workspace_id AND c.trigger <> 'manual'
    ORDER BY c.slot_start_at DESC LIMIT 1
) AS newest ON true
ORDER BY k.place;

-- name: take_requested_cycle
-- SKIP LOCKED: during a hand-over two shards may look at once, and one of them should go on. A run
-- is requested for the configuration of that moment, so the request waits for an owner that has
-- read the present version ($4).
UPDATE poll_cycles
SET outcome = 'running', started_at = clock_timestamp(), shard_id = $2, epoch = $3
WHERE (workspace_id, cycle_id) = (
    SELECT workspace_id, cycle_id FROM poll_cycles WHERE workspace_id = $1 AND outcome = 'requested'
    AND EXISTS (SELECT FROM workspaces w WHERE w.workspace_id = $1 AND w.config_version = $4)
    ORDER BY requested_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING workspace_id, slot_start_at, trigger, attempt, cycle_id, trace_id, started_at;

-- name: find_silent_connections
-- Connections with an active device that is stale or was never heard. $2 are provider ids, $3 the
-- stale threshold of each, in seconds. Runs at most once a cycle, beside the unit.
SELECT k.provider_id
FROM unnest($2::text[], $3::float8[]) AS k (provider_id, stale_after_seconds)
WHERE EXISTS (
    SELECT FROM devices d JOIN device_state s USING (workspace_id, device_id)
    WHERE d.workspace_id = $1 AND d.provider_id = k.provider_id AND d.retired_at IS NULL
      AND (s.last_update_received_at IS NULL
           OR s.last_update_received_at
              < clock_timestamp() - make_interval(secs => k.stale_after_seconds))
);
