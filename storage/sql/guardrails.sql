-- What guardrails look at, and what they did.

-- name: load_cycle_ends
-- For each workspace of $1, as many as $2 says. One row a slot, newest first: of several attempts the
-- best counts. Not those of before other providers were asked.
SELECT k.workspace_id, e.outcome, e.connections
FROM unnest($1::text[], $2::integer[]) AS k (workspace_id, max_slots)
CROSS JOIN LATERAL (
    SELECT DISTINCT ON (c.slot_start_at)
           c.slot_start_at, c.outcome, c.summary -> 'connections' AS connections
    FROM poll_cycles c
    WHERE c.workspace_id = k.workspace_id AND c.trigger <> 'manual'
      AND c.outcome IN ('completed', 'partial', 'failed', 'timed_out', 'missed', 'abandoned')
      AND c.slot_start_at >= (
          SELECT coalesce(w.asking_changed_at, '-infinity') FROM workspaces w
          WHERE w.workspace_id = k.workspace_id)
    ORDER BY c.slot_start_at DESC,
             array_position(ARRAY['completed', 'partial'], c.outcome) NULLS LAST, c.attempt DESC
    LIMIT k.max_slots
) AS e
ORDER BY k.workspace_id, e.slot_start_at DESC;

-- name: hold_lease
-- Returns no row unless this session still has the lease under this token. FOR SHARE makes a release
-- wait for the transaction.
SELECT 1 FROM leases WHERE resource = $1 AND shard_id = $2 AND epoch = $3 AND token = $4 FOR SHARE;

-- name: record_rollback
-- Beside the change of the flags, in its transaction.
INSERT INTO guardrail_events (workspace_id, at, kind, cycle_id, crossings, trace_id)
VALUES (:workspace_id, clock_timestamp(), 'rollback', :cycle_id, :crossings::jsonb, :trace_id);

-- name: note_rollback
-- For an hour after it, guardrails only alert.
UPDATE cutovers SET rolled_back_at = clock_timestamp() WHERE workspace_id = $1;

-- name: record_alert
-- Not if the same guardrails were crossed within the last hour, and did not act for the same reason.
INSERT INTO guardrail_events (workspace_id, at, kind, cycle_id, crossings, why_not, trace_id)
SELECT :workspace_id, clock_timestamp(), 'alert', :cycle_id, :crossings::jsonb, :why_not, :trace_id
WHERE NOT EXISTS (
    SELECT FROM guardrail_events e
    WHERE e.workspace_id = :workspace_id AND e.kind = 'alert' AND e.why_not = :why_not
      AND e.at > clock_timestamp() - interval '1 hour'
      AND jsonb_path_query_array(e.crossings, '$[*].guardrail')
        = jsonb_path_query_array(:crossings::jsonb, '$[*].guardrail'))
RETURNING event_id;
