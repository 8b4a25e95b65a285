-- Checkpoints of devices: what the events said that are about to be dropped.

-- name: checkpoint_events
-- A fixed number of events in the order of their index, whatever their devices: a statement stays
-- short for a fleet that sends every second, too. Events that a checkpoint has already are passed
-- over, so a run that was cut off begins anew. Only the newest assignment of a device counts, for
-- none of its values is shown once the next one has begun.
-- moved: the reading brought another value than the one before it, or than the checkpoint's.
-- Instants of a document are microseconds since 1970.
WITH chunk AS MATERIALIZED (
    SELECT e.workspace_id, e.device_id, e.assignment, e.sequence, e.recorded_at, e.received_at,
           e.readings, e.signals, e.observed_at
    FROM events e
    WHERE e.recorded_at >= :begins_at AND e.recorded_at < :ends_at
      AND (e.workspace_id, e.device_id, e.recorded_at, e.sequence)
          > (:after_workspace_id::text, :after_device_id::text, :after_recorded_at::timestamptz,
             :after_sequence::bigint)
    ORDER BY e.workspace_id, e.device_id, e.recorded_at, e.sequence
    LIMIT :limit
), fresh AS (
    SELECT chunk.*, CASE WHEN c.assignment = chunk.assignment THEN c.document END AS held,
           max(chunk.assignment) OVER (PARTITION BY chunk.workspace_id, chunk.device_id) AS newest
    FROM chunk LEFT JOIN event_checkpoints c USING (workspace_id, device_id)
    WHERE chunk.sequence > coalesce(c.version, 0)
), readings AS (
    SELECT f.workspace_id, f.device_id, f.assignment, f.sequence, f.received_at, r.signal,
           r.value, f.held -> r.signal AS held, times.*,
           r.value IS DISTINCT FROM lag(r.value, 1, f.held -> r.signal -> 0)
               OVER (PARTITION BY f.workspace_id, f.device_id, r.signal ORDER BY f.sequence) AS moved
    FROM fresh f
    CROSS JOIN LATERAL event_readings(f.readings, f.signals, f.observed_at) AS r
    CROSS JOIN LATERAL (
        SELECT (extract(epoch FROM r.stated_at) * 1000000)::bigint AS stated,
               (extract(epoch FROM f.received_at) * 1000000)::bigint AS arrival,
               least(r.stated_at, f.received_at) AS observed_at
    ) AS times
    WHERE f.assignment = f.newest
), signals AS (
    SELECT workspace_id, device_id, assignment, signal, max(sequence) AS version,
           max(received_at) AS received_at, max(observed_at) AS observed_at,
           max(received_at) FILTER (WHERE moved) AS changed_at,
           (array_agg(value ORDER BY sequence DESC))[1] AS value,
           (max(ARRAY[sequence, stated]))[2] AS stated,
           (max(ARRAY[sequence, arrival]))[2] AS arrival,
           coalesce((max(ARRAY[sequence, least(stated, arrival)]) FILTER (WHERE moved))[2],
                    max((held ->> 1)::bigint + (held ->> 4)::bigint)) AS changed
    FROM readings GROUP BY workspace_id, device_id, assignment, signal
), written AS (
    INSERT INTO event_checkpoints AS c (workspace_id, device_id, assignment, version,
                                        last_update_received_at, last_observed_at, last_changed_at,
                                        document)
    SELECT workspace_id, device_id, assignment, max(version), max(received_at), max(observed_at),
           max(changed_at),
           jsonb_object_agg(signal, jsonb_build_array(value, stated, arrival - stated, NULL,
                                                      changed - stated))
    FROM signals GROUP BY workspace_id, device_id, assignment
    ON CONFLICT (workspace_id, device_id) DO UPDATE
    SET assignment = excluded.assignment, version = excluded.version,
        (last_update_received_at, last_observed_at, last_changed_at, document) = (
            SELECT greatest(excluded.last_update_received_at, former.last_update_received_at),
                   greatest(excluded.last_observed_at, former.last_observed_at),
                   greatest(excluded.last_changed_at, former.last_changed_at),
                   coalesce(former.document, '{}') || excluded.document
            FROM (SELECT 1) AS one LEFT JOIN LATERAL (
                SELECT c.last_update_received_at, c.last_observed_at, c.last_changed_at, c.document
                WHERE c.assignment = excluded.assignment
            ) AS former ON true
        )
    RETURNING 1
)
SELECT workspace_id, device_id, recorded_at, sequence, count(*) OVER () AS events
FROM chunk
ORDER BY workspace_id DESC, device_id DESC, recorded_at DESC, sequence DESC
LIMIT 1;
