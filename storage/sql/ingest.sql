-- The statements of the ingest unit, in the order in which storage/unit/dialogue.py yields them. Each step
-- is one statement, whatever the number of rows. Locks are taken in key order, so one unit may wait
-- for another, but two units cannot deadlock.

-- name: fence
-- This statement comes first. A transaction that declares this session dead then either waits for
-- this unit, or has committed before it, and the unit writes nothing. The unit takes its writer's
-- row and then, in share mode, the session's. So units of two writers do not wait for each other.
-- If the session's row was changed while this statement waited, PostgreSQL checks epoch and state
-- again on the new row; FOR KEY SHARE would not wait at all. From here to its end, the transaction
-- waits at most 0.5 s for each lock: a unit of another shard holds its rows for less, and other
-- submissions of the same workspaces wait behind this unit.
WITH mine AS (
    UPDATE session_writers SET last_unit = $4
    WHERE shard_id = $1 AND epoch = $2 AND writer = $3
    RETURNING shard_id, epoch
)
SELECT clock_timestamp(), set_config('lock_timeout', '500ms', true)
FROM mine JOIN sessions s ON s.shard_id = mine.shard_id AND s.epoch = mine.epoch
WHERE s.state = 'live'
FOR SHARE OF s;

-- name: resolve_external_ids
-- Runs only if an update or an invalid item names its device by the provider's id. Returns that
-- spelling of the id. The partial unique index serves it. "C": of letters, only ASCII has a case
-- that does not count.
SELECT k.workspace_id, k.provider_id, k.external_id, d.device_id
FROM unnest($1::text[], $2::text[], $3::text[]) AS k (workspace_id, provider_id, external_id)
JOIN devices d ON d.workspace_id = k.workspace_id AND d.provider_id = k.provider_id
    AND d.external_key = ANY (ARRAY[k.external_id, upper(k.external_id COLLATE "C")])
WHERE d.retired_at IS NULL AND (d.ids_are_vins OR d.external_key = k.external_id);

-- name: lock_devices
-- Lock every row of device_state that this unit may write, in one sweep in key order. After a wait
-- for a lock, PostgreSQL returns the newest device_state row beside the snapshots row that it saw
-- at the start, and the devices row of then. The versions or the assignments then differ, and
-- storage/unit/devices.py reads those rows again. has_news tells devices with updates from those
-- that only have statements; in a unit without statements it is empty. The workspace of devices
-- that share one is sent once. -infinity is the year 1 as stated by a client or a clock that was
-- never set, from before such instants were refused.
SELECT s.workspace_id, s.device_id, d.provider_id, d.external_id, d.ids_are_vins, d.vehicle_id,
       d.retired_at IS NULL AS active, d.assignment AS registered_assignment, d.other_spans,
       s.assignment, s.entered_at,
       CASE WHEN k.has_news IS NOT NULL
           THEN greatest(coalesce(s.entered_at, d.activated_at), 'epoch') END
           AS statements_count_from,
       s.version, n.version AS snapshot_version,
       CASE WHEN k.has_news IS NOT FALSE THEN n.document END AS document,
       s.last_update_received_at, nullif(s.last_observed_at, '-infinity') AS last_observed_at,
       s.last_changed_at, s.last_rejected_at, s.last_rejection_reason, s.last_outdated_at,
       s.held_back_seconds, s.unaccepted_reception_at, s.statement, s.statement_begun_at,
       s.statement_at, s.statement_detail
FROM ROWS FROM (json_array_elements_text($1::json), json_array_elements_text($2::json),
                unnest($3::text::boolean[])) AS k (workspace_id, device_id, has_news)
JOIN device_state s ON s.workspace_id = coalesce(k.workspace_id, (SELECT $1::json ->> 0))
    AND s.device_id = k.device_id
JOIN devices d ON d.workspace_id = s.workspace_id AND d.device_id = s.device_id
JOIN snapshots n ON n.workspace_id = s.workspace_id AND n.device_id = s.device_id
ORDER BY s.workspace_id, s.device_id
FOR UPDATE OF s;

-- name: reread_devices
-- A new statement sees what was committed while lock_devices waited. No other unit can change these
-- snapshots now, and no command can begin another assignment, because this one holds the locks on
-- device_state.
SELECT n.workspace_id, n.device_id, n.version, n.document, d.provider_id, d.external_id,
       d.ids_are_vins, d.vehicle_id, d.retired_at IS NULL AS active,
       d.assignment AS registered_assignment, d.other_spans
FROM unnest($1::text[], $2::text[]) AS k (workspace_id, device_id)
JOIN snapshots n USING (workspace_id, device_id)
JOIN devices d USING (workspace_id, device_id);

-- name: write_device_states
-- One new row version for each device, whether it had accepted or rejected updates or a statement.
-- The comparison with the old version is an assertion.
WITH written AS (
    UPDATE device_state s
    SET version = i.version, last_update_received_at = i.last_update_received_at,
        last_observed_at = i.last_observed_at, last_changed_at = i.last_changed_at,
        last_rejected_at = i.last_rejected_at,
        last_rejection_reason = i.last_rejection_reason,
        last_outdated_at = i.last_outdated_at, held_back_seconds = i.held_back_seconds,
        unaccepted_reception_at = i.unaccepted_reception_at,
        statement = i.statement, statement_begun_at = i.statement_begun_at,
        statement_at = i.statement_at, statement_detail = i.statement_detail
    FROM ROWS FROM (
        json_array_elements_text(:workspace_id::json), json_array_elements_text(:device_id::json),
        unnest(:old_version::text::bigint[], :version::text::bigint[],
               :last_update_received_at::text::timestamptz[],
               :last_observed_at::text::timestamptz[], :last_changed_at::text::timestamptz[],
               :last_rejected_at::text::timestamptz[], :last_rejection_reason::text[],
               :last_outdated_at::text::timestamptz[], :held_back_seconds::text::float8[],
               :unaccepted_reception_at::text::timestamptz[],
               :statement::text[], :statement_begun_at::text::timestamptz[],
               :statement_at::text::timestamptz[], :statement_detail::text[]))
        AS i (workspace_id, device_id, old_version, version, last_update_received_at,
              last_observed_at, last_changed_at, last_rejected_at, last_rejection_reason,
              last_outdated_at, held_back_seconds, unaccepted_reception_at, statement,
              statement_begun_at, statement_at, statement_detail)
    WHERE s.workspace_id = coalesce(i.workspace_id, (SELECT :workspace_id::json ->> 0))
      AND s.device_id = i.device_id AND s.version = i.old_version
    RETURNING 1
)
SELECT count(*) FROM written;

-- name: append_device_events
-- Edges only, so that few rows suffice to answer health as of any past instant.
INSERT INTO device_events (workspace_id, device_id, at, kind, detail)
SELECT * FROM unnest(:workspace_id::text[], :device_id::text[], :at::timestamptz[], :kind::text[],
                     :detail::text[]);

-- name: write_snapshots
-- Write the whole document. It is small and was merged in memory. clock_timestamp() is read here,
-- after the locks were taken, for the events that follow. So recorded_at grows with sequence within
-- a device, across all shards, as long as the server's clock is not set back; where it is equal, the
-- sequence decides.
WITH written AS (
    UPDATE snapshots n
    SET version = i.version, document = i.document::json
    FROM ROWS FROM (
        json_array_elements_text(:workspace_id::json), json_array_elements_text(:device_id::json),
        unnest(:old_version::text::bigint[], :version::text::bigint[]),
        string_to_table(:document::text, E'\x1f'))
        AS i (workspace_id, device_id, old_version, version, document)
    WHERE n.workspace_id = coalesce(i.workspace_id, (SELECT :workspace_id::json ->> 0))
      AND n.device_id = i.device_id AND n.version = i.old_version
    RETURNING 1
)
SELECT count(*), clock_timestamp() FROM written;

-- name: lock_connections
-- Rows are created with the provider, so a connection that was never configured returns no row.
SELECT c.workspace_id, c.provider_id, c.call_status, c.last_success_at, c.last_failure_at,
       c.failing_since, c.fault, c.fault_detail, c.stream_status, c.stream_changed_at, c.cursor,
       c.cursor_at, c.call_begun_at, c.call_ended_at, c.complete_begun_at, c.complete_at,
       c.roster_begun_at, c.roster_at, c.not_asked_at, c.stream_fault, c.stream_fault_detail,
       c.stream_down_since, c.data_at, c.data_device_id, c.other_data_at, c.readable_at,
       c.unreadable_at, c.sender_at
FROM unnest($1::text[], $2::text[]) AS k (workspace_id, provider_id)
JOIN connection_state c USING (workspace_id, provider_id)
ORDER BY c.workspace_id, c.provider_id
FOR UPDATE OF c;

-- name: write_connections
-- Whole rows, as folded from what lock_connections returned.
UPDATE connection_state c
SET call_status = i.call_status, last_success_at = i.last_success_at,
    last_failure_at = i.last_failure_at, failing_since = i.failing_since, fault = i.fault,
    fault_detail = i.fault_detail,
    stream_status = i.stream_status, stream_changed_at = i.stream_changed_at,
    cursor = i.cursor, cursor_at = i.cursor_at,
    call_begun_at = i.call_begun_at, call_ended_at = i.call_ended_at,
    complete_begun_at = i.complete_begun_at, complete_at = i.complete_at,
    roster_begun_at = i.roster_begun_at, roster_at = i.roster_at,
    not_asked_at = i.not_asked_at,
    stream_fault = i.stream_fault, stream_fault_detail = i.stream_fault_detail,
    stream_down_since = i.stream_down_since,
    data_at = i.data_at, data_device_id = i.data_device_id, other_data_at = i.other_data_at,
    readable_at = i.readable_at, unreadable_at = i.unreadable_at, sender_at = i.sender_at
FROM unnest(:workspace_id::text[], :provider_id::text[], :call_status::text[],
            :last_success_at::timestamptz[], :last_failure_at::timestamptz[],
            :failing_since::timestamptz[], :fault::text[], :fault_detail::text[],
            :stream_status::text[], :stream_changed_at::timestamptz[], :cursor::text[],
            :cursor_at::timestamptz[], :call_begun_at::timestamptz[],
            :call_ended_at::timestamptz[], :complete_begun_at::timestamptz[],
            :complete_at::timestamptz[], :roster_begun_at::timestamptz[],
            :roster_at::timestamptz[], :not_asked_at::timestamptz[], :stream_fault::text[],
            :stream_fault_detail::text[], :stream_down_since::timestamptz[],
            :data_at::timestamptz[], :data_device_id::text[], :other_data_at::timestamptz[],
            :readable_at::timestamptz[], :unreadable_at::timestamptz[],
            :sender_at::timestamptz[])
    AS i (workspace_id, provider_id, call_status, last_success_at, last_failure_at, failing_since,
          fault, fault_detail, stream_status, stream_changed_at, cursor, cursor_at, call_begun_at,
          call_ended_at, complete_begun_at, complete_at, roster_begun_at, roster_at, not_asked_at,
          stream_fault, stream_fault_detail, stream_down_since, data_at, data_device_id,
          other_data_at, readable_at, unreadable_at, sender_at)
WHERE c.workspace_id = i.workspace_id AND c.provider_id = i.provider_id;

-- name: append_connection_events
-- Edges only, so that few rows suffice to answer health as of any past instant.
INSERT INTO connection_events (workspace_id, provider_id, at, kind, fault, detail)
SELECT * FROM unnest(:workspace_id::text[], :provider_id::text[], :at::timestamptz[], :kind::text[],
                     :fault::text[], :detail::text[]);

-- name: count_devices
-- Of each workspace, for a cycle of this slot that ends now: the active devices, those with an age
-- within the target, and those with news. Devices of a polled connection have news if some came
-- since the slot began, others if some came within one interval. One instant holds for all. Returns
-- it, and the counts in the order of workspace and slot.
WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at
)
SELECT moment.at, n.active, n.fresh, n.updated
FROM moment
CROSS JOIN unnest($1::text[], $2::timestamptz[]) AS k (workspace_id, slot_start_at)
CROSS JOIN LATERAL (
    SELECT count(*) AS active,
           count(*) FILTER (WHERE s.last_update_received_at
               >= moment.at - make_interval(secs => w.freshness_target_seconds)) AS fresh,
           count(*) FILTER (WHERE s.last_update_received_at
               >= CASE WHEN p.transport = 'poll' THEN k.slot_start_at
                       ELSE moment.at - make_interval(secs => w.poll_interval_seconds) END)
               AS updated
    FROM workspaces w
    JOIN devices d ON d.workspace_id = w.workspace_id
    JOIN device_state s ON s.workspace_id = d.workspace_id AND s.device_id = d.device_id
    JOIN providers p ON p.workspace_id = d.workspace_id AND p.provider_id = d.provider_id
    WHERE w.workspace_id = k.workspace_id AND d.retired_at IS NULL AND d.activated_at <= moment.at
) AS n
ORDER BY k.workspace_id COLLATE "C", k.slot_start_at;

-- name: end_cycles
-- Only a cycle that this session still runs. A cycle that a successor marked as abandoned stays
-- abandoned.
UPDATE poll_cycles c
SET outcome = i.outcome, ended_at = i.ended_at, summary = i.summary,
    active_devices = i.active_devices, fresh_devices = i.fresh_devices,
    updated_devices = i.updated_devices
FROM unnest(:workspace_id::text[], :cycle_id::text[], :ended_at::timestamptz[], :outcome::text[],
            :summary::jsonb[], :active_devices::integer[], :fresh_devices::integer[],
            :updated_devices::integer[])
    AS i (workspace_id, cycle_id, ended_at, outcome, summary, active_devices, fresh_devices,
          updated_devices)
WHERE c.workspace_id = i.workspace_id AND c.cycle_id = i.cycle_id
  AND c.shard_id = :shard_id AND c.epoch = :epoch AND c.outcome = 'running';

-- name: append_rejections
-- The ledger: one row for each key and hour, for the first refusal. Returns workspace and digest of
-- the rows that are new; count_rejections counts up the others. Duplicates are not recorded. Rows
-- are inserted in the order of the key, so two units cannot deadlock.
INSERT INTO rejections (workspace_id, origin, provider_id, device_id, external_id, outcome, reason,
                        detail, occurrences, trace_id, sample, signal, hour, last_at, digest)
SELECT workspace_id, origin, provider_id, device_id, external_id, outcome, reason, detail,
       occurrences, trace_id, sample, signal, hour, last_at, digest
FROM unnest(:workspace_id::text[], :origin::text[], :provider_id::text[], :device_id::text[],
            :external_id::text[], :outcome::text[], :reason::text[], :detail::text[],
            :occurrences::bigint[], :trace_id::text[], :sample::bytea[], :signal::text[],
            :hour::timestamptz[], :last_at::timestamptz[], :digest::bytea[])
    AS i (workspace_id, origin, provider_id, device_id, external_id, outcome, reason, detail,
          occurrences, trace_id, sample, signal, hour, last_at, digest)
ORDER BY workspace_id, hour, digest
ON CONFLICT (workspace_id, hour, digest) DO NOTHING
RETURNING workspace_id, digest;

-- name: count_rejections
-- Runs only for rows that append_rejections found. Returns workspace and digest of those that were
-- counted up. A row that another transaction has locked is left out, so a lock on the ledger never
-- holds up the data; its count is written later.
WITH known AS MATERIALIZED (
    SELECT r.workspace_id, r.hour, r.digest, i.occurrences, i.last_at
    FROM unnest(:workspace_id::text[], :hour::timestamptz[], :digest::bytea[],
                :occurrences::bigint[], :last_at::timestamptz[]) AS i (workspace_id, hour, digest,
                                                                       occurrences, last_at)
    JOIN rejections r USING (workspace_id, hour, digest)
    FOR NO KEY UPDATE OF r SKIP LOCKED
)
UPDATE rejections r
SET occurrences = r.occurrences + known.occurrences,
    last_at = greatest(r.last_at, known.last_at)
FROM known
WHERE r.workspace_id = known.workspace_id AND r.hour = known.hour AND r.digest = known.digest
RETURNING r.workspace_id, r.digest;

-- name: append_quarantine
-- One row for each update, because a person inspects them one by one.
INSERT INTO quarantine (workspace_id, provider_id, device_id, external_id, reason, detail, trace_id,
                        sample, origin, is_whole)
SELECT * FROM unnest(:workspace_id::text[], :provider_id::text[], :device_id::text[],
                     :external_id::text[], :reason::text[], :detail::text[], :trace_id::text[],
                     :sample::bytea[], :origin::text[], :is_whole::boolean[]);

-- name: load_last_unit
-- FOR UPDATE waits for the backend whose COMMIT was not answered; after that the result is final.
-- It waits for no other writer. The session's state does not matter: the rows of a session that was
-- declared dead meanwhile still hold the last units.
SELECT last_unit FROM session_writers
WHERE shard_id = $1 AND epoch = $2 AND writer = $3 FOR UPDATE;
