-- What the pages show beside a list of devices: how they did in each hour, and their connections.

-- name: load_trends
-- For each device and bucket (its place from 1) the newest arrival, and the newest value of a signal
-- in the seconds before it: a device that streams has an event a second, and no more of them are
-- read. max() follows the index to one entry, in the partitions of the bucket alone.
SELECT d.device_id, b.place, newest.heard_at, newest.value
FROM unnest(:device_ids::text[]) AS d (device_id)
CROSS JOIN unnest(:begins_at::timestamptz[], :ends_at::timestamptz[]) WITH ORDINALITY
    AS b (begins_at, ends_at, place)
CROSS JOIN LATERAL (
    SELECT max(e.recorded_at) AS at FROM events e
    WHERE e.workspace_id = :workspace_id AND e.device_id = d.device_id
      AND e.recorded_at >= b.begins_at AND e.recorded_at < b.ends_at
) AS last
CROSS JOIN LATERAL (
    SELECT max(e.received_at) AS heard_at,
           (array_agg(r.value ORDER BY e.recorded_at DESC, e.sequence DESC)
                FILTER (WHERE r.value IS NOT NULL))[1] AS value
    FROM events e
    LEFT JOIN LATERAL event_readings(e.readings, e.signals, e.observed_at) AS r
        ON r.signal = :signal::text
    WHERE e.workspace_id = :workspace_id AND e.device_id = d.device_id
      AND e.recorded_at >= greatest(b.begins_at, last.at - make_interval(secs => :look_back_seconds))
      AND e.recorded_at <= last.at
) AS newest
WHERE newest.heard_at IS NOT NULL;

-- name: list_connection_states
-- Of the connections in use. One that nothing is known of has no row in connection_state.
SELECT p.provider_id, p.provider_type, p.transport, p.active, p.simulated,
       s.call_status, s.last_success_at, s.last_failure_at, s.failing_since, s.fault, s.fault_detail,
       s.stream_status, s.stream_changed_at, s.stream_fault, s.stream_fault_detail,
       s.stream_down_since, s.data_at, s.sender_at
FROM providers p
LEFT JOIN connection_state s ON s.workspace_id = p.workspace_id AND s.provider_id = p.provider_id
WHERE p.workspace_id = $1 AND p.archived_at IS NULL
ORDER BY p.provider_id;
