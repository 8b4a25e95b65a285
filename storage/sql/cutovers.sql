-- Cutovers: the flags in workspaces, and beside them the legacy system, the settings of gate and
-- guardrails, and what was noted since.

-- name: get_cutover
-- One row or none. A workspace without a row in cutovers has no legacy system, and the defaults.
SELECT w.*, c.legacy_base_url, c.legacy_credential, c.legacy_shape, c.gate, c.guardrails,
       c.legacy_answered_at, c.legacy_failed_at, c.legacy_fault, c.legacy_unfit,
       c.rolled_back_at
FROM workspaces w LEFT JOIN cutovers c ON c.workspace_id = w.workspace_id
WHERE w.workspace_id = $1;

-- name: load_cutovers
-- For a shard: no rows once its session is over.
SELECT w.*, c.legacy_base_url, c.legacy_credential, c.legacy_shape, c.gate, c.guardrails,
       c.legacy_answered_at, c.legacy_failed_at, c.legacy_fault, c.legacy_unfit,
       c.rolled_back_at
FROM workspaces w LEFT JOIN cutovers c ON c.workspace_id = w.workspace_id
WHERE w.workspace_id = ANY ($1::text[])
  AND EXISTS (SELECT FROM sessions WHERE shard_id = $2 AND epoch = $3 AND state = 'live');

-- name: update_flags
-- The actors learn of the change as of any other in the configuration.
UPDATE workspaces
SET device_registry_source = :device_registry_source, poll_owner = :poll_owner,
    read_owner = :read_owner, provider_mode = :provider_mode,
    asking_changed_at = CASE WHEN :asks_others THEN clock_timestamp() ELSE asking_changed_at END,
    cutover_revision = cutover_revision + 1, config_version = config_version + 1
WHERE workspace_id = :workspace_id
RETURNING pg_notify('lastheard', 'workspace:' || workspace_id);

-- name: save_cutover
-- Notes about a legacy system are not kept for another one.
INSERT INTO cutovers AS c (workspace_id, legacy_base_url, legacy_credential, legacy_shape, gate,
                           guardrails)
VALUES (:workspace_id, :base_url::text, :credential::text, :shape::json, :gate::jsonb,
        :guardrails::jsonb)
ON CONFLICT (workspace_id) DO UPDATE
SET legacy_base_url = excluded.legacy_base_url, legacy_credential = excluded.legacy_credential,
    legacy_shape = excluded.legacy_shape, gate = excluded.gate, guardrails = excluded.guardrails,
    legacy_answered_at = CASE WHEN :keeps_notes THEN c.legacy_answered_at END,
    legacy_failed_at = CASE WHEN :keeps_notes THEN c.legacy_failed_at END,
    legacy_fault = CASE WHEN :keeps_notes THEN c.legacy_fault END,
    legacy_unfit = CASE WHEN :keeps_notes THEN c.legacy_unfit END;

-- name: load_gate_cycles
-- What gate and guardrails judge: the newest comparisons, newest first, one a slot. Those of before
-- the flags last changed whom we ask do not count, nor those that are older than twice the time of
-- so many cycles: nothing was compared since. $3 asks for the samples, too.
SELECT DISTINCT ON (slot_start_at)
       equal, missing_here, missing_there, older, different, incomparable, why,
       CASE WHEN $3::boolean THEN samples END AS samples
FROM parity_cycles
WHERE workspace_id = $1 AND compared_at > (
    SELECT greatest(w.asking_changed_at, clock_timestamp() - make_interval(
               secs => 2.0 * $2 * w.poll_interval_seconds))
    FROM workspaces w WHERE w.workspace_id = $1)
ORDER BY slot_start_at DESC, compared_at DESC
LIMIT $2;

-- name: list_guardrail_events
-- Newest first. Ids are handed out in the order in which guardrails acted.
SELECT event_id, at, kind, cycle_id, crossings, why_not, trace_id
FROM guardrail_events WHERE workspace_id = $1
ORDER BY event_id DESC
LIMIT $2;

-- name: note_legacy_answer
-- SKIP LOCKED: a note that finds the row locked is dropped, because the next one follows soon.
UPDATE cutovers SET legacy_answered_at = greatest(legacy_answered_at, $2)
WHERE workspace_id IN (
    SELECT workspace_id FROM cutovers WHERE workspace_id = $1 FOR NO KEY UPDATE SKIP LOCKED
);

-- name: note_legacy_failure
-- SKIP LOCKED as above. An older failure never takes the place of a newer one.
UPDATE cutovers SET legacy_failed_at = $2, legacy_fault = $3
WHERE (legacy_failed_at IS NULL OR legacy_failed_at <= $2) AND workspace_id IN (
    SELECT workspace_id FROM cutovers WHERE workspace_id = $1 FOR NO KEY UPDATE SKIP LOCKED
);

-- name: note_legacy_unfit
-- SKIP LOCKED as above.
UPDATE cutovers SET legacy_unfit = $2::json
WHERE workspace_id IN (
    SELECT workspace_id FROM cutovers WHERE workspace_id = $1 FOR NO KEY UPDATE SKIP LOCKED
);
