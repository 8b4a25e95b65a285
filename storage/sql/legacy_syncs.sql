-- The synchronisation of devices with a legacy registry. A sync locks its workspace's row first, as
-- every command on the registry does, and holds its session only from before its first write: the
-- units of its own shard wait for that.

-- name: get_legacy_sync
-- One row or none.
SELECT * FROM legacy_syncs WHERE workspace_id = $1;

-- name: list_synced_devices
-- The active ones, and those that a sync retired since $2. The newest change of a retired device is
-- its retirement, which is a part of a sync's entry if a sync retired it.
SELECT d.device_id, d.provider_id, d.external_id, d.external_key, d.vehicle_id, d.vehicle_name,
       d.retired_at
FROM devices d
WHERE d.workspace_id = $1 AND (d.retired_at IS NULL OR d.retired_at >= $2 AND 'sync' = (
    SELECT whole.kind
    FROM changes c LEFT JOIN changes whole ON whole.change_id = c.part_of
    WHERE c.workspace_id = $1 AND c.kind = 'device' AND c.subject = d.device_id
    ORDER BY c.at DESC, c.change_id DESC
    LIMIT 1));

-- name: retire_left_out
-- As when a person retires one device: it is never deleted, and the first retired_at is kept.
UPDATE devices SET retired_at = clock_timestamp(), revision = revision + 1
WHERE workspace_id = $1 AND device_id = ANY ($2::text[]) AND retired_at IS NULL
RETURNING *;

-- name: return_devices
-- Their assignments go on (resume_assignments), so what was collected under them counts on.
UPDATE devices d
SET retired_at = NULL, external_id = i.external_id, vehicle_name = i.vehicle_name,
    revision = d.revision + 1
FROM unnest(:device_id::text[], :external_id::text[], :vehicle_name::text[])
    AS i (device_id, external_id, vehicle_name)
WHERE d.workspace_id = :workspace_id AND d.device_id = i.device_id AND d.retired_at IS NOT NULL
RETURNING d.*;

-- name: resume_assignments
-- Their ends are forgotten, because nothing was collected for anybody else meanwhile.
UPDATE assignments a
SET ended_at = NULL, external_id = i.external_id, vehicle_name = i.vehicle_name
FROM unnest(:device_id::text[], :assignment::integer[], :external_id::text[], :vehicle_name::text[])
    AS i (device_id, assignment, external_id, vehicle_name)
WHERE a.workspace_id = :workspace_id AND a.device_id = i.device_id
  AND a.assignment = i.assignment;

-- name: save_legacy_sync
-- Written after every answer, so that the next one is compared with it, changed or not.
INSERT INTO legacy_syncs (workspace_id, cutover_revision, left_out, doubted, answered_at, synced_at,
                          outcome, detail, counts, held_back, refused)
VALUES (:workspace_id, :cutover_revision, :left_out::jsonb, :doubted, :answered_at, :synced_at,
        :outcome, NULL, :counts::jsonb, :held_back::jsonb, :refused::jsonb)
ON CONFLICT (workspace_id) DO UPDATE
SET cutover_revision = excluded.cutover_revision, left_out = excluded.left_out,
    doubted = excluded.doubted, answered_at = excluded.answered_at, synced_at = excluded.synced_at,
    outcome = excluded.outcome, detail = NULL, counts = excluded.counts,
    held_back = excluded.held_back, refused = excluded.refused;

-- name: note_failed_sync
-- Nothing is said of devices, so what the newest answer left out stays. Under other flags than those
-- under which it was tried, nothing is noted.
INSERT INTO legacy_syncs AS s (workspace_id, cutover_revision, synced_at, outcome, detail)
SELECT workspace_id, cutover_revision, clock_timestamp(), :outcome, :detail
FROM workspaces
WHERE workspace_id = :workspace_id AND cutover_revision = :cutover_revision
  AND device_registry_source = 'legacy_sync'
ON CONFLICT (workspace_id) DO UPDATE
SET synced_at = excluded.synced_at, outcome = excluded.outcome, detail = excluded.detail,
    counts = '{}', held_back = '[]', refused = '[]'
RETURNING *;
