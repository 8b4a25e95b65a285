-- For live pages, every 5 s while one is open. Their devices come by page_written (health.sql).

-- name: list_marks
-- Texts that differ after each change of configuration, and after each news of a cycle.
SELECT w.workspace_id,
       concat_ws(' ', w.revision, w.policy_revision, w.cutover_revision, w.config_version)
           AS configuration,
       concat_ws(' ', newest.slot_start_at, newest.trigger, newest.attempt, newest.outcome,
                 newest.ended_at, compared.compared_at) AS cycles,
       greatest(newest.started_at, newest.ended_at, compared.compared_at) AS cycles_at
FROM workspaces w
LEFT JOIN LATERAL (
    SELECT slot_start_at, trigger, attempt, outcome, started_at, ended_at FROM poll_cycles y
    WHERE y.workspace_id = w.workspace_id
    ORDER BY slot_start_at DESC, trigger DESC, attempt DESC LIMIT 1
) AS newest ON true
LEFT JOIN LATERAL (
    SELECT compared_at FROM parity_cycles c
    WHERE c.workspace_id = w.workspace_id ORDER BY slot_start_at DESC, cycle_id DESC LIMIT 1
) AS compared ON true
WHERE w.workspace_id = ANY ($1::text[]);
