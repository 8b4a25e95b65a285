-- Commands and queries on the configuration. A command locks its workspace's row first, so the
-- commands of one workspace run one after the other and may read, decide in Python, and write.

-- name: lock_workspace
-- NO KEY: transactions that insert rows which refer to the workspace (cycles) need not wait.
SELECT * FROM workspaces WHERE workspace_id = $1 FOR NO KEY UPDATE;

-- name: lock_ordinals
-- One transaction at a time takes an ordinal or an explicit offset, in the whole database.
-- Otherwise two could find the same one free.
SELECT pg_advisory_xact_lock(7264830912);

-- name: lowest_free_ordinal
-- From the interval's own series: the schedule spreads best over the ordinals 0 to n-1. An ordinal
-- is free once the deactivation that gave it up is committed.
WITH series AS (
    SELECT ordinal FROM workspaces WHERE poll_interval_seconds = $1 AND ordinal IS NOT NULL
)
SELECT min(candidate)
FROM (SELECT 0 AS candidate UNION ALL SELECT ordinal + 1 FROM series) AS candidates
WHERE NOT EXISTS (SELECT FROM series WHERE ordinal = candidate);

-- name: count_other_places
-- The other active workspaces, by interval and explicit offset, which is null for most of them.
SELECT poll_interval_seconds, start_offset_seconds, count(*) AS workspaces
FROM workspaces WHERE active AND workspace_id <> $1
GROUP BY poll_interval_seconds, start_offset_seconds;

-- name: create_workspace
-- A workspace without an ordinal is inactive, and its scheduled_since is null.
INSERT INTO workspaces (workspace_id, name, active, time_zone, poll_interval_seconds,
                        start_offset_seconds, freshness_target_seconds, delayed_after_seconds,
                        stale_after_seconds, grace_seconds, ordinal, scheduled_since)
VALUES (:workspace_id, :name, :active, :time_zone, :poll_interval_seconds,
        :start_offset_seconds::integer, :freshness_target_seconds, :delayed_after_seconds, :stale_after_seconds,
        :grace_seconds, :ordinal::integer,
        CASE WHEN :ordinal::integer IS NOT NULL THEN clock_timestamp() END)
ON CONFLICT (workspace_id) DO NOTHING
RETURNING pg_notify('lastheard', 'workspace:' || workspace_id);

-- name: update_workspace
-- keeps_ordinal says whether the workspace keeps its ordinal. Otherwise its ordinal becomes the
-- given one, which may be null. keeps_place says whether it keeps its place in the schedule too: it
-- does not if it gets another offset. Only then scheduled_since stays.
UPDATE workspaces
SET name = :name, active = :active, time_zone = :time_zone,
    poll_interval_seconds = :poll_interval_seconds,
    start_offset_seconds = :start_offset_seconds::integer,
    freshness_target_seconds = :freshness_target_seconds,
    delayed_after_seconds = :delayed_after_seconds, stale_after_seconds = :stale_after_seconds,
    grace_seconds = :grace_seconds,
    active_changed_at = CASE WHEN active = :active THEN active_changed_at
                             ELSE clock_timestamp() END,
    revision = :revision, policy_revision = :policy_revision,
    ordinal = CASE WHEN :keeps_ordinal THEN ordinal ELSE :ordinal::integer END,
    scheduled_since = CASE WHEN :keeps_place THEN scheduled_since
                           WHEN :active THEN clock_timestamp() END,
    config_version = config_version + 1
WHERE workspace_id = :workspace_id
RETURNING pg_notify('lastheard', 'workspace:' || workspace_id);

-- name: archive_workspace
-- It is inactive, so no shard owns it. The first archived_at is kept.
UPDATE workspaces
SET archived_at = clock_timestamp(), revision = revision + 1, config_version = config_version + 1
WHERE workspace_id = $1 AND archived_at IS NULL
RETURNING *, pg_notify('lastheard', 'workspace:' || workspace_id);

-- name: retire_devices
-- All that are active, with the workspace that is archived.
UPDATE devices SET retired_at = clock_timestamp(), revision = revision + 1
WHERE workspace_id = $1 AND retired_at IS NULL
RETURNING *;

-- name: bump_config
-- Actors on every shard learn of a change from this version, which the heartbeat compares. The
-- notice only makes them look sooner; it is sent with the commit.
UPDATE workspaces SET config_version = config_version + 1 WHERE workspace_id = $1
RETURNING pg_notify('lastheard', 'workspace:' || workspace_id);

-- name: get_workspace
-- One row or none.
SELECT * FROM workspaces WHERE workspace_id = $1;

-- name: list_workspaces
-- In key order, after the key $2. $1 holds the workspaces that the caller may see; null means all.
-- $4 asks for the archived ones instead of those in use.
SELECT * FROM workspaces
WHERE ($1::text[] IS NULL OR workspace_id = ANY ($1)) AND ($2::text IS NULL OR workspace_id > $2)
  AND (archived_at IS NOT NULL) = $4::boolean
ORDER BY workspace_id
LIMIT $3;

-- name: put_provider
-- The whole row. The caller has compared it with the stored row.
INSERT INTO providers AS p (workspace_id, provider_id, provider_type, transport, base_url,
                            credential, settings, active, expected_update_seconds,
                            delayed_after_seconds, stale_after_seconds, grace_seconds,
                            ids_are_vins, period_is_documented, simulated)
VALUES (:workspace_id, :provider_id, :provider_type, :transport, :base_url,
        :credential, :settings::jsonb, :active, :expected_update_seconds,
        :delayed_after_seconds, :stale_after_seconds, :grace_seconds, :ids_are_vins,
        :period_is_documented, :simulated)
ON CONFLICT (workspace_id, provider_id) DO UPDATE
SET provider_type = excluded.provider_type, transport = excluded.transport,
    base_url = excluded.base_url, credential = excluded.credential, settings = excluded.settings,
    active = excluded.active, ids_are_vins = excluded.ids_are_vins, revision = p.revision + 1,
    active_changed_at = CASE WHEN p.active = excluded.active THEN p.active_changed_at
                             ELSE clock_timestamp() END,
    expected_update_seconds = excluded.expected_update_seconds,
    period_is_documented = excluded.period_is_documented, simulated = excluded.simulated,
    delayed_after_seconds = excluded.delayed_after_seconds,
    stale_after_seconds = excluded.stale_after_seconds, grace_seconds = excluded.grace_seconds;

-- name: make_connection_state
-- Created with the provider, so that the ingest unit only has to update it.
INSERT INTO connection_state (workspace_id, provider_id) VALUES ($1, $2) ON CONFLICT DO NOTHING;

-- name: get_provider
-- One row or none.
SELECT * FROM providers WHERE workspace_id = $1 AND provider_id = $2;

-- name: archive_provider
-- It is switched off with it, so that its stream ends. The first archived_at is kept.
UPDATE providers
SET archived_at = clock_timestamp(), revision = revision + 1, active = false,
    active_changed_at = CASE WHEN active THEN clock_timestamp() ELSE active_changed_at END
WHERE workspace_id = $1 AND provider_id = $2 AND archived_at IS NULL
RETURNING *;

-- name: count_active_devices
-- Of one connection.
SELECT count(*) FROM devices
WHERE workspace_id = $1 AND provider_id = $2 AND retired_at IS NULL;

-- name: list_providers
-- In key order, after the key $2. If the limit is null, return all. $4 asks for the archived ones
-- instead of those in use.
SELECT * FROM providers
WHERE workspace_id = $1 AND ($2::text IS NULL OR provider_id > $2)
  AND (archived_at IS NOT NULL) = $4::boolean
ORDER BY provider_id
LIMIT $3;

-- name: find_devices
-- The stored devices that have an id of a bulk command, including retired ones.
SELECT * FROM devices WHERE workspace_id = $1 AND device_id = ANY ($2::text[]);

-- name: find_external_holders
-- The active devices that hold an external key of a bulk command.
SELECT d.provider_id, d.external_key, d.device_id
FROM unnest($2::text[], $3::text[]) AS k (provider_id, external_key)
JOIN devices d USING (provider_id, external_key)
WHERE d.workspace_id = $1 AND d.retired_at IS NULL;

-- name: find_assignments
-- Every assignment of the units of a bulk command, whichever device had it.
SELECT DISTINCT a.*
FROM unnest($2::text[], $3::text[]) AS k (provider_id, external_key)
JOIN assignments a USING (provider_id, external_key)
WHERE a.workspace_id = $1;

-- name: find_present_assignments
-- The newest assignment of each device of a bulk command.
SELECT a.*
FROM devices d JOIN assignments a USING (workspace_id, device_id, assignment)
WHERE d.workspace_id = $1 AND d.device_id = ANY ($2::text[]);

-- name: list_assignments
-- Of one connection, by any device.
SELECT * FROM assignments WHERE workspace_id = $1 AND provider_id = $2;

-- name: get_assignments
-- Newest first: those of one device that have these numbers.
SELECT workspace_id, device_id, assignment, provider_id, external_id, external_key, vehicle_id,
       vehicle_name, effective_at, entered_at, ended_at
FROM assignments
WHERE workspace_id = $1 AND device_id = $2 AND assignment = ANY ($3::integer[])
ORDER BY assignment DESC;

-- name: put_devices
-- Whole rows, decided in Python. A device that was retired becomes active again.
INSERT INTO devices AS d (workspace_id, device_id, provider_id, external_id, vehicle_id,
                          vehicle_name, activated_at, delayed_after_seconds, stale_after_seconds,
                          grace_seconds, ids_are_vins, external_key, assignment, other_spans,
                          tags)
SELECT :workspace_id, i.*
FROM unnest(:device_id::text[], :provider_id::text[], :external_id::text[], :vehicle_id::text[],
            :vehicle_name::text[], :activated_at::timestamptz[], :delayed_after_seconds::float8[],
            :stale_after_seconds::float8[], :grace_seconds::float8[], :ids_are_vins::boolean[],
            :external_key::text[], :assignment::integer[], :other_spans::jsonb[],
            :tags::jsonb[]) AS i
ON CONFLICT (workspace_id, device_id) DO UPDATE
SET provider_id = excluded.provider_id, external_id = excluded.external_id,
    vehicle_id = excluded.vehicle_id, vehicle_name = excluded.vehicle_name,
    activated_at = excluded.activated_at, retired_at = NULL,
    delayed_after_seconds = excluded.delayed_after_seconds,
    stale_after_seconds = excluded.stale_after_seconds, grace_seconds = excluded.grace_seconds,
    ids_are_vins = excluded.ids_are_vins, external_key = excluded.external_key,
    assignment = excluded.assignment, other_spans = excluded.other_spans, tags = excluded.tags,
    revision = d.revision + 1;

-- name: give_up_units
-- Until put_devices gives these devices their next units. Keys have no space at their ends, so
-- nothing that is stored or sent matches these.
UPDATE devices SET external_key = ' ' || device_id
WHERE workspace_id = $1 AND device_id = ANY ($2::text[]);

-- name: lock_device_states
-- In key order, as a unit locks them, so that the two cannot deadlock. A unit that holds one of
-- these rows commits first, and its events belong to the assignment that ends.
SELECT 1 FROM device_state WHERE workspace_id = $1 AND device_id = ANY ($2::text[])
ORDER BY device_id FOR UPDATE;

-- name: end_assignments
-- Only one that lasts: the first end is kept.
UPDATE assignments a SET ended_at = i.ended_at
FROM unnest($2::text[], $3::timestamptz[]) AS i (device_id, ended_at)
WHERE a.workspace_id = $1 AND a.device_id = i.device_id AND a.ended_at IS NULL;

-- name: begin_assignments
-- After end_assignments, so that a device never has two that last.
INSERT INTO assignments (workspace_id, device_id, assignment, provider_id, external_id, external_key,
                         vehicle_id, vehicle_name, effective_at, entered_at)
SELECT :workspace_id, i.*
FROM unnest(:device_id::text[], :assignment::integer[], :provider_id::text[], :external_id::text[],
            :external_key::text[], :vehicle_id::text[], :vehicle_name::text[],
            :effective_at::timestamptz[], :entered_at::timestamptz[]) AS i;

-- name: correct_assignments
-- Spelling and name only: the unit and the vehicle of an assignment never change.
UPDATE assignments a
SET external_id = i.external_id, vehicle_name = i.vehicle_name
FROM unnest(:device_id::text[], :assignment::integer[], :external_id::text[], :vehicle_name::text[])
    AS i (device_id, assignment, external_id, vehicle_name)
WHERE a.workspace_id = :workspace_id AND a.device_id = i.device_id
  AND a.assignment = i.assignment;

-- name: make_device_states
-- Created with the device, so that the ingest unit only has to update it. For a known device, a new
-- assignment begins without history: its version goes on, and nothing else does.
INSERT INTO device_state AS s (workspace_id, device_id, assignment, entered_at)
SELECT $1, i.* FROM unnest($2::text[], $3::integer[], $4::timestamptz[]) AS i
ON CONFLICT (workspace_id, device_id) DO UPDATE
SET assignment = excluded.assignment, entered_at = excluded.entered_at,
    last_update_received_at = NULL, last_observed_at = NULL, last_changed_at = NULL,
    last_rejected_at = NULL, last_rejection_reason = NULL,
    statement = NULL, statement_begun_at = NULL, statement_at = NULL, statement_detail = NULL,
    last_outdated_at = NULL, held_back_seconds = NULL, unaccepted_reception_at = NULL;

-- name: make_snapshots
-- Created with the device, so that the ingest unit only has to update it. A new assignment of a
-- known device begins without values: its version goes on.
INSERT INTO snapshots (workspace_id, device_id) SELECT $1, unnest($2::text[])
ON CONFLICT (workspace_id, device_id) DO UPDATE SET document = '{}';

-- name: count_events_after_end
-- Accepted under an assignment after its end, because the swap was entered later. A device may have
-- any number of them, so the count stops at the limit.
SELECT count(*) FROM (
    SELECT FROM events e
    WHERE e.workspace_id = :workspace_id AND e.device_id = :device_id
      AND e.assignment = :assignment AND e.recorded_at >= :ended_at
    LIMIT :limit
) AS after_end;

-- name: rekey_devices
-- Of a connection whose type says otherwise than before whether external ids are VINs.
UPDATE devices d SET ids_are_vins = :ids_are_vins, external_key = i.external_key
FROM unnest(:device_id::text[], :external_key::text[]) AS i (device_id, external_key)
WHERE d.workspace_id = :workspace_id AND d.device_id = i.device_id;

-- name: rekey_assignments
-- Of a connection whose type says otherwise than before whether external ids are VINs.
UPDATE assignments a SET external_key = i.external_key
FROM unnest(:device_id::text[], :assignment::integer[], :external_key::text[])
    AS i (device_id, assignment, external_key)
WHERE a.workspace_id = :workspace_id AND a.device_id = i.device_id
  AND a.assignment = i.assignment;

-- name: retire_device
-- A device is never deleted: its history and its version stay. The first retired_at is kept.
UPDATE devices SET retired_at = clock_timestamp(), revision = revision + 1
WHERE workspace_id = $1 AND device_id = $2 AND retired_at IS NULL
RETURNING *;

-- name: get_device
-- One row or none.
SELECT * FROM devices WHERE workspace_id = $1 AND device_id = $2;

-- name: list_devices
-- In key order, after the key. If the limit is null, return all. With a tag, only the devices that
-- have it; the primary key leads to those of the workspace.
SELECT * FROM devices
WHERE workspace_id = :workspace_id AND (:include_retired OR retired_at IS NULL)
  AND (:after::text IS NULL OR device_id > :after) AND (:tag::text IS NULL OR tags ? :tag)
ORDER BY device_id
LIMIT :limit;

-- name: find_requested_cycle
-- A request that still waits is returned again, so that there is never a second one.
SELECT cycle_id FROM poll_cycles WHERE workspace_id = $1 AND outcome = 'requested'
ORDER BY requested_at LIMIT 1;

-- name: request_cycle
-- The slot begins at the moment of the request, which keeps it apart from the scheduled slots.
INSERT INTO poll_cycles (workspace_id, slot_start_at, trigger, attempt, cycle_id, trace_id,
                         requested_at, outcome)
VALUES ($1, $2, 'manual', 1, $3, $4, $2, 'requested');
