-- Indicators of a workspace. Facts are counted by spans of time, which begin at $2 and end before
-- $3; each lies within one hour of UTC. Rows name the span by its place, from 1.
-- domain/indicators.py makes counts of them.

-- name: list_cycles_of_spans
-- A cycle belongs to the time at which its slot began.
SELECT s.span, c.slot_start_at, c.trigger, c.outcome, c.started_at, c.ended_at, c.active_devices,
       c.fresh_devices, c.updated_devices, c.summary
FROM unnest($2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY AS s (begins_at, ends_at, span)
JOIN poll_cycles c ON c.workspace_id = $1
    AND c.slot_start_at >= s.begins_at AND c.slot_start_at < s.ends_at
ORDER BY c.slot_start_at;

-- name: count_refused_of_spans
-- The ledger counts by the hour. So the refusals of the whole hour belong to a part of it.
SELECT s.span, r.outcome, r.reason, r.signal, sum(r.occurrences)::bigint AS occurrences
FROM unnest($2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY AS s (begins_at, ends_at, span)
JOIN rejections r ON r.workspace_id = $1 AND r.hour = date_trunc('hour', s.begins_at, 'UTC')
GROUP BY s.span, r.outcome, r.reason, r.signal;

-- name: count_lags_of_spans
-- By device, because that is how the index leads to the events of a span. An update was observed
-- when its newest reading was: the view reads events of either form. $4 has the bounds of the buckets.
SELECT u.span, lag.stage, width_bucket(extract(epoch FROM lag.took)::float8, $4::float8[]) AS bucket,
       count(*) AS events
FROM (
    SELECT s.span, e.recorded_at, e.received_at, e.reception_at, e.observed_at
    FROM unnest($2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY
        AS s (begins_at, ends_at, span)
    CROSS JOIN devices d
    JOIN readable_events e ON e.workspace_id = d.workspace_id AND e.device_id = d.device_id
        AND e.recorded_at >= s.begins_at AND e.recorded_at < s.ends_at
    WHERE d.workspace_id = $1
) AS u
CROSS JOIN LATERAL (VALUES
    ('observed_provider_received', u.reception_at - u.observed_at),
    ('provider_received_received', u.received_at - u.reception_at),
    ('observed_received', u.received_at - u.observed_at),
    ('received_committed', u.recorded_at - u.received_at),
    ('observed_committed', u.recorded_at - u.observed_at)
) AS lag (stage, took)
WHERE lag.took IS NOT NULL
GROUP BY u.span, lag.stage, bucket;

-- name: list_stream_edges
-- Those from $2 until before $3, and of each stream the last one before: it says what held at $2.
SELECT e.provider_id, e.at, e.kind = 'stream_opened' AS is_open
FROM providers p
CROSS JOIN LATERAL (
    (SELECT f.provider_id, f.at, f.kind, f.event_id FROM connection_events f
     WHERE f.workspace_id = p.workspace_id AND f.provider_id = p.provider_id
       AND f.kind IN ('stream_opened', 'stream_closed') AND f.at < $2::timestamptz
     ORDER BY f.at DESC, f.event_id DESC LIMIT 1)
    UNION ALL
    (SELECT f.provider_id, f.at, f.kind, f.event_id FROM connection_events f
     WHERE f.workspace_id = p.workspace_id AND f.provider_id = p.provider_id
       AND f.kind IN ('stream_opened', 'stream_closed')
       AND f.at >= $2::timestamptz AND f.at < $3::timestamptz)
) AS e
WHERE p.workspace_id = $1
ORDER BY e.provider_id, e.at, e.event_id;

-- name: sum_indicator_hours
-- The counts of whole hours, added up by name.
SELECT c.name, sum(c.value::bigint)::bigint AS n
FROM indicator_hours h CROSS JOIN LATERAL json_each_text(h.content) AS c (name, value)
WHERE h.workspace_id = $1 AND h.hour >= $2 AND h.hour < $3
GROUP BY c.name;

-- name: list_indicator_hours
-- Which hours were counted in advance, and of each what a chart shows.
SELECT hour, (content ->> 'samples')::bigint AS samples, (content ->> 'active')::bigint AS active,
       (content ->> 'fresh')::bigint AS fresh, (content ->> 'updated')::bigint AS updated,
       (content ->> 'slots')::bigint AS slots, (content ->> 'good_slots')::bigint AS good_slots
FROM indicator_hours
WHERE workspace_id = $1 AND hour >= $2 AND hour < $3
ORDER BY hour;

-- name: read_freshness
-- The active devices now. percentile_disc returns ages that devices have, and leaves out those that
-- never reported.
WITH moment AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), ages AS (
    SELECT extract(epoch FROM moment.at - s.last_update_received_at)::float8 AS age
    FROM moment CROSS JOIN devices d
    JOIN device_state s ON s.workspace_id = d.workspace_id AND s.device_id = d.device_id
    WHERE d.workspace_id = $1 AND d.retired_at IS NULL AND d.activated_at <= moment.at
)
SELECT moment.at, w.created_at, w.freshness_target_seconds AS target, n.*
FROM moment CROSS JOIN workspaces w CROSS JOIN LATERAL (
    SELECT count(*) AS active, count(age) AS heard,
           count(*) FILTER (WHERE age <= w.freshness_target_seconds) AS fresh,
           percentile_disc($2::float8[]) WITHIN GROUP (ORDER BY age) AS percentiles,
           max(age) AS oldest
    FROM ages
) AS n
WHERE w.workspace_id = $1;

-- name: count_covered
-- Of the devices that are active at $2, those with an update in the 24 hours before.
SELECT count(*) AS active, count(*) FILTER (WHERE EXISTS (
           SELECT FROM events e
           WHERE e.workspace_id = a.workspace_id AND e.device_id = a.device_id
             AND e.assignment = a.assignment
             AND e.recorded_at > $2::timestamptz - interval '24 hours' AND e.recorded_at <= $2
       )) AS covered
FROM assignments a
WHERE a.workspace_id = $1 AND a.effective_at <= $2 AND (a.ended_at IS NULL OR a.ended_at > $2);

-- name: sum_burn_windows
-- The devices that cycles counted in each window of $3 seconds that ends at $2.
SELECT w.seconds, count(c.active_devices) AS samples,
       coalesce(sum(c.active_devices), 0)::bigint AS active,
       coalesce(sum(c.fresh_devices), 0)::bigint AS fresh
FROM unnest($3::integer[]) WITH ORDINALITY AS w (seconds, place)
LEFT JOIN poll_cycles c ON c.workspace_id = $1 AND c.slot_start_at < $2::timestamptz
    AND c.slot_start_at >= $2::timestamptz - make_interval(secs => w.seconds)
GROUP BY w.seconds, w.place
ORDER BY w.place;

-- name: find_settled_hours
-- Of the last $1 hours, at most $2 that were not counted yet, newest first. An hour can change no
-- more once it has been over for 15 minutes, none of its cycles is open, and the schedule has gone
-- on behind it: before a workspace's next cycle starts, the slots that were missed and the cycles
-- that were left are recorded. A day later it counts as settled in any case, for instance if no
-- shard runs the workspace.
SELECT w.workspace_id, h.hour
FROM workspaces w
CROSS JOIN LATERAL generate_series(
    date_trunc('hour', greatest(w.created_at, now() - make_interval(hours => $1)), 'UTC'),
    now() - interval '75 minutes', interval '1 hour') AS h (hour)
WHERE NOT EXISTS (
    SELECT FROM indicator_hours i WHERE i.workspace_id = w.workspace_id AND i.hour = h.hour
) AND (
    h.hour < now() - interval '1 day'
    OR NOT EXISTS (
        SELECT FROM poll_cycles c
        WHERE c.workspace_id = w.workspace_id AND c.outcome IN ('requested', 'running')
          AND c.slot_start_at < h.hour + interval '1 hour'
    ) AND (
        NOT w.active
        OR EXISTS (
            SELECT FROM poll_cycles c
            WHERE c.workspace_id = w.workspace_id AND c.trigger <> 'manual'
              AND c.slot_start_at >= h.hour + interval '1 hour'
        )
    )
)
ORDER BY h.hour DESC, w.workspace_id
LIMIT $2;

-- name: write_indicator_hour
-- An hour that was counted stays as it is.
INSERT INTO indicator_hours (workspace_id, hour, content) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING;

-- name: sum_objectives
-- The devices that cycles of each workspace counted in some spans of time, as load_indicators adds
-- them up: from the row of an hour that was counted in advance, else from its cycles. And those in
-- windows of so many seconds that end at an instant, as in sum_burn_windows.
SELECT w.workspace_id, total.active, total.fresh, total.samples, burn.active AS burn_active,
       burn.fresh AS burn_fresh, burn.samples AS burn_samples
FROM unnest(:workspaces::text[]) AS w (workspace_id)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(coalesce(hour.active, own.active)), 0)::bigint AS active,
           coalesce(sum(coalesce(hour.fresh, own.fresh)), 0)::bigint AS fresh,
           coalesce(sum(coalesce(hour.samples, own.samples)), 0)::bigint AS samples
    FROM unnest(:begins_at::timestamptz[], :ends_at::timestamptz[]) AS s (begins_at, ends_at)
    LEFT JOIN indicator_hours i ON i.workspace_id = w.workspace_id AND i.hour = s.begins_at
        AND s.ends_at = s.begins_at + interval '1 hour'
    LEFT JOIN LATERAL json_to_record(i.content)
        AS hour (active bigint, fresh bigint, samples bigint) ON true
    LEFT JOIN LATERAL (
        SELECT sum(c.active_devices) AS active, sum(c.fresh_devices) AS fresh,
               count(c.active_devices) AS samples
        FROM poll_cycles c
        WHERE i.hour IS NULL AND c.workspace_id = w.workspace_id
          AND c.slot_start_at >= s.begins_at AND c.slot_start_at < s.ends_at
    ) AS own ON true
) AS total
CROSS JOIN LATERAL (
    SELECT array_agg(sums.active ORDER BY b.place) AS active,
           array_agg(sums.fresh ORDER BY b.place) AS fresh,
           array_agg(sums.samples ORDER BY b.place) AS samples
    FROM unnest(:windows::integer[]) WITH ORDINALITY AS b (seconds, place)
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(c.active_devices), 0)::bigint AS active,
               coalesce(sum(c.fresh_devices), 0)::bigint AS fresh,
               count(c.active_devices) AS samples
        FROM poll_cycles c
        WHERE c.workspace_id = w.workspace_id AND c.slot_start_at < :until::timestamptz
          AND c.slot_start_at >= :until::timestamptz - make_interval(secs => b.seconds)
    ) AS sums
) AS burn;
