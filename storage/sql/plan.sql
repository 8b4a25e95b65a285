-- The poll plan over workspaces.

-- name: list_starts
-- The active workspaces that the caller may see ($1, null: all), each with its newest recorded start
-- of the schedule: one look-up in the primary key for each.
SELECT w.workspace_id, w.name, w.ordinal, w.poll_interval_seconds, w.start_offset_seconds,
       w.scheduled_since, newest.slot_start_at, newest.trigger, newest.outcome, newest.started_at
FROM workspaces w
LEFT JOIN LATERAL (
    SELECT y.slot_start_at, y.trigger, y.outcome, y.started_at
    FROM poll_cycles y
    WHERE y.workspace_id = w.workspace_id AND y.trigger IN ('schedule', 'late')
    ORDER BY y.slot_start_at DESC, y.trigger DESC, y.attempt DESC LIMIT 1
) AS newest ON true
WHERE w.active AND ($1::text[] IS NULL OR w.workspace_id = ANY ($1));
