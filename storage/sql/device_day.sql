-- The day of one device: one statement, so that all of it comes from one snapshot.

-- name: load_device_day
-- Rows become JSON, because each part has a shape of its own. Updates are counted by recorded_at
-- alone, which the index has. A bucket reads only its newest updates for the values of signals: a
-- stream may bring one a second, and unpacking 86,400 of them would take seconds. The span is named
-- again beside the bucket, so that partitions outside it are left out before the first bucket.
-- Refusals of an update that named the device by its unit's id alone belong to it too.
-- Of a connection also what held at the beginning is wanted: of each fact (the first word of a kind)
-- the last edge before, among the newest 2,000, since a fact that never occurs would be looked for
-- through all of them.
WITH device AS MATERIALIZED (
    SELECT workspace_id, device_id, provider_id, external_id FROM devices
    WHERE workspace_id = :workspace_id AND device_id = :device_id
), buckets AS MATERIALIZED (
    SELECT n, :begins_at::timestamptz + n * :step::interval AS begins_at,
           least(:begins_at + (n + 1) * :step, :ends_at::timestamptz) AS ends_at
    FROM generate_series(0, :buckets::integer - 1) AS b (n)
), links AS MATERIALIZED (
    SELECT c.at, c.kind, c.fault, c.detail, c.event_id
    FROM device d JOIN connection_events c
        ON c.workspace_id = d.workspace_id AND c.provider_id = d.provider_id
    WHERE c.at >= :begins_at AND c.at < :ends_at
    ORDER BY c.event_id DESC LIMIT :max_edges
), held AS MATERIALIZED (
    SELECT DISTINCT ON (split_part(e.kind, '_', 1)) e.at, e.kind, e.fault, e.detail, e.event_id
    FROM (
        SELECT c.at, c.kind, c.fault, c.detail, c.event_id
        FROM device d JOIN connection_events c
            ON c.workspace_id = d.workspace_id AND c.provider_id = d.provider_id
        WHERE c.at < :begins_at
        ORDER BY c.event_id DESC LIMIT 2000
    ) AS e
    ORDER BY split_part(e.kind, '_', 1), e.event_id DESC
)
SELECT clock_timestamp() AS read_at, d.provider_id,
    (SELECT max(e.recorded_at) FROM events e
     WHERE e.workspace_id = d.workspace_id AND e.device_id = d.device_id
       AND e.recorded_at < :begins_at) AS before_at,
    (SELECT json_agg(json_build_array(b.n, r.updates, r.first_at, r.last_at) ORDER BY b.n)
     FROM buckets b CROSS JOIN LATERAL (
         SELECT count(*) AS updates, min(e.recorded_at) AS first_at, max(e.recorded_at) AS last_at
         FROM events e
         WHERE e.workspace_id = d.workspace_id AND e.device_id = d.device_id
           AND e.recorded_at >= :begins_at AND e.recorded_at < :ends_at
           AND e.recorded_at >= b.begins_at AND e.recorded_at < b.ends_at
     ) AS r WHERE r.updates > 0) AS receipts,
    (SELECT json_agg(json_build_array(s.signal, s.stated_at, s.value)
                     ORDER BY s.signal, s.n)
     FROM (
         SELECT DISTINCT ON (b.n, r.signal) b.n, r.signal, r.stated_at, r.value
         FROM buckets b CROSS JOIN LATERAL (
             SELECT e.readings, e.signals, e.observed_at, e.recorded_at, e.sequence
             FROM events e
             WHERE e.workspace_id = d.workspace_id AND e.device_id = d.device_id
               AND e.recorded_at >= :begins_at AND e.recorded_at < :ends_at
               AND e.recorded_at >= b.begins_at AND e.recorded_at < b.ends_at
             ORDER BY e.recorded_at DESC, e.sequence DESC LIMIT :updates_read
         ) AS u CROSS JOIN LATERAL event_readings(u.readings, u.signals, u.observed_at) AS r
         ORDER BY b.n, r.signal, u.recorded_at DESC, u.sequence DESC
     ) AS s) AS signals,
    (SELECT json_agg(json_build_array(c.outcome, c.answer, c.cycles, c.first_at, c.last_at)
                     ORDER BY c.first_at, c.outcome, c.answer)
     FROM (
         SELECT y.outcome, y.summary -> 'connections' ->> d.provider_id AS answer,
                count(*) AS cycles, min(y.slot_start_at) AS first_at, max(y.slot_start_at) AS last_at
         FROM poll_cycles y
         WHERE y.workspace_id = d.workspace_id
           AND y.slot_start_at >= :begins_at AND y.slot_start_at < :ends_at
         GROUP BY y.outcome, answer,
                  floor(extract(epoch FROM y.slot_start_at - :begins_at)
                        / extract(epoch FROM :step))
     ) AS c) AS cycles,
    (SELECT json_agg(json_build_array(f.hour, f.outcome, f.reason, f.signal, f.occurrences,
                                      f.first_at, f.last_at, f.detail)
                     ORDER BY f.hour, f.outcome, f.reason, f.signal)
     FROM (
         SELECT r.hour, r.outcome, r.reason, r.signal, sum(r.occurrences) AS occurrences,
                min(r.recorded_at) AS first_at, max(r.last_at) AS last_at, min(r.detail) AS detail
         FROM rejections r
         WHERE r.workspace_id = d.workspace_id
           AND r.hour >= date_trunc('hour', :begins_at, 'UTC') AND r.hour < :ends_at
           AND (r.device_id = d.device_id
                OR (r.device_id IS NULL AND r.provider_id = d.provider_id
                    AND r.external_id = d.external_id))
         GROUP BY r.hour, r.outcome, r.reason, r.signal
         ORDER BY r.hour DESC LIMIT :max_edges
     ) AS f) AS refusals,
    (SELECT json_agg(json_build_array(l.at, l.kind, l.fault, l.detail) ORDER BY l.at, l.event_id)
     FROM (SELECT * FROM held UNION ALL SELECT * FROM links) AS l) AS connection_edges,
    (SELECT json_agg(json_build_array(v.at, v.kind, NULL, v.detail) ORDER BY v.at, v.event_id)
     FROM (
         SELECT w.at, w.kind, w.detail, w.event_id FROM device_events w
         WHERE w.workspace_id = d.workspace_id AND w.device_id = d.device_id
           AND w.at >= :begins_at AND w.at < :ends_at
         ORDER BY w.event_id DESC LIMIT :max_edges
     ) AS v) AS device_edges
FROM device d;

-- name: find_event_behind
-- The update that brought a value: it was stored when the value arrived or soon after. `since` is the
-- arrival, less what two clocks may differ by.
-- At most 500 updates are looked through, since the value may be of an event that is gone.
SELECT e.sequence, e.recorded_at, e.received_at, e.signals, e.observed_at,
       CASE WHEN e.signals IS NULL THEN e.readings END AS readings, e.provider_id, e.trace_id, e.shard_id,
       e.epoch, e.resource, e.token, e.assignment, e.reception_at, a.vehicle_id, a.external_id,
       coalesce(e.recorded_at >= a.ended_at, false) AS is_outside
FROM (
    SELECT * FROM readable_events v
    WHERE v.workspace_id = :workspace_id AND v.device_id = :device_id
      AND v.recorded_at >= :since::timestamptz
    ORDER BY v.recorded_at, v.sequence LIMIT 500
) AS e
LEFT JOIN assignments a ON a.workspace_id = e.workspace_id AND a.device_id = e.device_id
                       AND a.assignment = e.assignment
WHERE EXISTS (
    SELECT FROM event_readings(e.stored_readings, e.signals, e.observed_at) AS r
    WHERE r.signal = :signal::text AND r.stated_at = :observed_at::timestamptz
)
ORDER BY e.recorded_at, e.sequence
LIMIT 1;

-- name: list_device_assignments
-- Newest first.
SELECT workspace_id, device_id, assignment, provider_id, external_id, external_key, vehicle_id,
       vehicle_name, effective_at, entered_at, ended_at
FROM assignments
WHERE workspace_id = $1 AND device_id = $2
ORDER BY assignment DESC
LIMIT $3;
