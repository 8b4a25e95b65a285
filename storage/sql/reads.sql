-- Queries for the API. Each answer comes from one snapshot of the database.

-- name: read_clock
-- Database time, the one clock that all shards share.
SELECT clock_timestamp();

-- name: list_in_use
-- The workspaces that are not archived; all, or some of them.
SELECT workspace_id, active, read_owner FROM workspaces
WHERE archived_at IS NULL AND ($1::text[] IS NULL OR workspace_id = ANY ($1));

-- name: list_snapshots
-- Active devices in key order. One row at least, with the instant: it is read after the snapshot
-- was taken.
SELECT moment.read_at, facts.*
FROM (SELECT clock_timestamp() AS read_at) AS moment
LEFT JOIN (
    SELECT d.*, n.version, n.document, s.last_update_received_at, s.last_changed_at,
           c.stream_down_since
    FROM devices d
    JOIN device_state s USING (workspace_id, device_id)
    JOIN snapshots n USING (workspace_id, device_id)
    LEFT JOIN connection_state c
        ON c.workspace_id = d.workspace_id AND c.provider_id = d.provider_id
    WHERE d.workspace_id = $1 AND d.retired_at IS NULL AND ($2::text IS NULL OR d.device_id > $2)
    ORDER BY d.device_id
    LIMIT $3
) AS facts ON true
ORDER BY facts.device_id;

-- name: get_snapshot
-- Of any device, a retired one too.
SELECT clock_timestamp() AS read_at, d.*, n.version, n.document, s.last_update_received_at,
       s.last_changed_at, c.stream_down_since
FROM devices d
JOIN device_state s USING (workspace_id, device_id)
JOIN snapshots n USING (workspace_id, device_id)
LEFT JOIN connection_state c
    ON c.workspace_id = d.workspace_id AND c.provider_id = d.provider_id
WHERE d.workspace_id = $1 AND d.device_id = $2;

-- name: get_fleet
-- With the instant: it is read after the snapshot was taken.
SELECT clock_timestamp() AS read_at, w.*, k.legacy_base_url, k.legacy_credential, k.legacy_shape
FROM workspaces w LEFT JOIN cutovers k USING (workspace_id)
WHERE w.workspace_id = $1;

-- name: list_fleet_connections
-- Archived ones too: a retired device may have one.
SELECT * FROM providers WHERE workspace_id = $1;

-- name: list_fleet_devices
-- One device, a retired one too; or the active ones in key order after the key. If the limit is
-- null, return all.
SELECT * FROM devices
WHERE workspace_id = $1 AND CASE WHEN $2::text IS NULL THEN retired_at IS NULL
                                 ELSE device_id = $2 END
  AND ($3::text IS NULL OR device_id > $3)
ORDER BY device_id
LIMIT $4;

-- name: list_events
-- By recorded_at, which orders the index and the partitions. Within a device it grows with sequence
-- unless the server's clock was set back (a failover), so a page begins after both.
-- Unit and vehicle are those of the event's assignment. An event is outside if its assignment had
-- ended when it was accepted: the swap was entered later. PostgreSQL makes readings of the form of
-- before only where the row has no other.
SELECT e.sequence, e.recorded_at, e.received_at, e.signals, e.observed_at,
       CASE WHEN e.signals IS NULL THEN e.readings END AS readings, e.provider_id, e.trace_id, e.shard_id,
       e.epoch, e.resource, e.token, e.assignment, e.reception_at, a.vehicle_id, a.external_id,
       coalesce(e.recorded_at >= a.ended_at, false) AS is_outside
FROM readable_events e
LEFT JOIN assignments a ON a.workspace_id = e.workspace_id AND a.device_id = e.device_id
                       AND a.assignment = e.assignment
WHERE e.workspace_id = :workspace_id AND e.device_id = :device_id
  AND (:before_recorded_at::timestamptz IS NULL
       OR (e.recorded_at, e.sequence) < (:before_recorded_at, :before_sequence::bigint))
ORDER BY e.recorded_at DESC, e.sequence DESC
LIMIT :limit;

-- name: list_events_after_end
-- Newest first: those that count_events_after_end counts.
SELECT e.sequence, e.recorded_at, e.received_at, e.signals, e.observed_at,
       CASE WHEN e.signals IS NULL THEN e.readings END AS readings, e.provider_id, e.trace_id, e.shard_id,
       e.epoch, e.resource, e.token, e.assignment, e.reception_at, a.vehicle_id, a.external_id,
       true AS is_outside
FROM readable_events e JOIN assignments a USING (workspace_id, device_id, assignment)
WHERE e.workspace_id = :workspace_id AND e.device_id = :device_id AND e.assignment = :assignment
  AND e.recorded_at >= :ended_at
ORDER BY e.recorded_at DESC, e.sequence DESC
LIMIT :limit;

-- name: list_cycles
-- Newest slot first, in the order of the primary key read backwards.
SELECT * FROM poll_cycles
WHERE workspace_id = :workspace_id
  AND (:before_slot_start_at::timestamptz IS NULL
       OR (slot_start_at, trigger, attempt)
          < (:before_slot_start_at, :before_trigger::text, :before_attempt::integer))
ORDER BY slot_start_at DESC, trigger DESC, attempt DESC
LIMIT :limit;

-- name: get_cycle
-- By the id that logs and answers carry.
SELECT * FROM poll_cycles WHERE workspace_id = $1 AND cycle_id = $2;

-- name: list_rejections
-- Newest first, by the first refusal of the hour.
SELECT rejection_id, recorded_at, origin, provider_id, device_id, external_id, outcome, reason,
       detail, occurrences, trace_id, sample, signal, hour,
       coalesce(last_at, recorded_at) AS last_at
FROM rejections
WHERE workspace_id = $1 AND ($2::bigint IS NULL OR rejection_id < $2)
  AND ($3::text IS NULL OR reason = $3)
ORDER BY rejection_id DESC
LIMIT $4;
