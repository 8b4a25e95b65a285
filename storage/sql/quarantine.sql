-- Quarantine as an operator sees it. The ingest unit appends to it (ingest.sql).

-- name: list_quarantine
-- Of a whole update only as much as of any other sample: a page of them would be megabytes.
SELECT quarantine_id, recorded_at, origin, provider_id, device_id, external_id, reason, detail,
       trace_id, substring(sample FROM 1 FOR 4096) AS sample, is_whole, replayed_at, replayed_by,
       replay_outcome, replay_reason, replay_detail
FROM quarantine
WHERE workspace_id = $1 AND ($2::bigint IS NULL OR quarantine_id < $2)
ORDER BY quarantine_id DESC
LIMIT $3;

-- name: find_quarantined_update
-- A sample that is not whole is no update, so it is left out.
SELECT origin, CASE WHEN is_whole THEN sample END AS whole
FROM quarantine
WHERE workspace_id = $1 AND quarantine_id = $2;

-- name: note_replay
-- The mark of a replay that was accepted stays: later ones are duplicates of it.
UPDATE quarantine
SET replayed_at = clock_timestamp(), replayed_by = :who, replay_outcome = :outcome,
    replay_reason = :reason, replay_detail = :detail
WHERE workspace_id = :workspace_id AND quarantine_id = :quarantine_id
  AND replay_outcome IS DISTINCT FROM 'accepted';
