-- Queries for the API. Each answer comes from one snapshot of the database.

-- name: read_clock
-- Database time, the one clock that all shards share.
SELECT clock_timestamp();

-- name: list_in_use
-- The workspaces that are not archived; all, or some of them.
SELECT workspace_id, active, read_owner FROM workspaces
WHERE archived_at IS NULL AND ($1::text[] IS NULL OR workspace_id = ANY ($1));

-- name: list_threshold_classes
-- Devices differ in thresholds only by connection and override: few classes, for each of which
-- Python makes cutoffs. Active workspaces only, unless $2 asks for inactive ones too. $3
-- leaves out the workspaces whose values the legacy system shows, and names them. `changes` grows
-- with every change to one of the workspaces, since versions only grow and no workspace is ever
-- deleted. One row at least, for its sake.
SELECT stamp.changes, stamp.left_to_legacy, c.*,
       w.workspace_id AS w_workspace_id, w.name AS w_name, w.active AS w_active,
       w.ordinal AS w_ordinal, w.poll_interval_seconds AS w_poll_interval_seconds,
       w.freshness_target_seconds AS w_freshness_target_seconds,
       w.delayed_after_seconds AS w_delayed_after_seconds,
       w.stale_after_seconds AS w_stale_after_seconds, w.grace_seconds AS w_grace_seconds,
       w.config_version AS w_config_version, w.scheduled_since AS w_scheduled_since,
       w.archived_at AS w_archived_at, w.active_changed_at AS w_active_changed_at,
       w.revision AS w_revision, w.policy_revision AS w_policy_revision,
       w.time_zone AS w_time_zone, w.start_offset_seconds AS w_start_offset_seconds,
       w.device_registry_source AS w_device_registry_source, w.poll_owner AS w_poll_owner,
       w.read_owner AS w_read_owner, w.provider_mode AS w_provider_mode,
       w.cutover_revision AS w_cutover_revision, w.asking_changed_at AS w_asking_changed_at,
       p.workspace_id AS p_workspace_id, p.provider_id AS p_provider_id,
       p.provider_type AS p_provider_type, p.transport AS p_transport, p.base_url AS p_base_url,
       p.credential AS p_credential, p.settings AS p_settings, p.active AS p_active,
       p.expected_update_seconds AS p_expected_update_seconds,
       p.delayed_after_seconds AS p_delayed_after_seconds,
       p.stale_after_seconds AS p_stale_after_seconds, p.grace_seconds AS p_grace_seconds,
       p.ids_are_vins AS p_ids_are_vins, p.active_changed_at AS p_active_changed_at,
       p.archived_at AS p_archived_at, p.revision AS p_revision,
       p.period_is_documented AS p_period_is_documented, p.simulated AS p_simulated
FROM (
    SELECT coalesce(sum(v.config_version), 0)::bigint AS changes,
           array_agg(v.workspace_id)
               FILTER (WHERE $3::boolean AND v.read_owner = 'legacy' AND (v.active OR $2))
               AS left_to_legacy
    FROM workspaces v WHERE $1::text[] IS NULL OR v.workspace_id = ANY ($1)
) AS stamp
LEFT JOIN (
    SELECT DISTINCT d.workspace_id, d.provider_id, d.delayed_after_seconds, d.stale_after_seconds,
           d.grace_seconds
    FROM devices d JOIN workspaces a ON a.workspace_id = d.workspace_id
    WHERE (a.active OR $2::boolean) AND d.retired_at IS NULL
      AND NOT ($3 AND a.read_owner = 'legacy')
      AND ($1::text[] IS NULL OR d.workspace_id = ANY ($1))
) AS c ON true
LEFT JOIN workspaces w ON w.workspace_id = c.workspace_id
LEFT JOIN providers p ON p.workspace_id = c.workspace_id AND p.provider_id = c.provider_id;

-- name: page_health
-- Of a device whose newest data came while the socket was away, the limits are those of a polled one
-- (HealthFacts.lives_on_calls).
-- The comparisons of domain.health_state.state_of over the narrow table, once for counts and page;
-- documents only for the page. Strictly before a cutoff is over the limit. The instant is given
-- (now), or read after the snapshot was taken, so that nothing seen is younger. One row at least,
-- since the counts stand beside an empty page too.
-- Counts are those of each workspace (by_workspace), or of all of them under the empty name.
-- The page may be of some of the workspaces (rows_of), and of the rows that were written since an
-- earlier answer, with one device of each connection (since: the `as_of` of that answer). A row that
-- its snapshot did not show has an xmin of at least as_of, the oldest transaction that ran then.
-- Others may have one, too. A negative age is that of a row from before 2^31 transactions.
-- The worklist's order is HealthFacts.away_since; least() ignores nulls. Observed at -infinity is a
-- clock that was never set (0001-01-01), from before such times were refused: it is not known.
-- What is known of a connection stands in one of its rows only (is_first_of_connection), and what is
-- known of a workspace's collector in one of the workspace's rows (is_first): four index look-ups,
-- its newest good cycle, its newest started one, the start before that slot and the newest unknown
-- ids; and who has its lease, with the heartbeat of that session: not who ran the newest cycle, for
-- a new owner may not have begun one yet. Not joined from a table of collectors: the planner expects
-- one row of it and loops over all. OFFSET 0 keeps the condition inside, so that other rows look up
-- nothing.
WITH moment AS MATERIALIZED (
    SELECT coalesce(:now::timestamptz, clock_timestamp()) AS evaluated_at
), stamp AS (
    SELECT coalesce(sum(v.config_version), 0)::bigint AS changes
    FROM workspaces v WHERE :workspaces::text[] IS NULL OR v.workspace_id = ANY (:workspaces)
), classes AS MATERIALIZED (
    SELECT c.workspace_id, c.provider_id, c.delayed_after, c.stale_after, c.grace,
           moment.evaluated_at - c.delayed_behind AS delayed_before,
           moment.evaluated_at - c.stale_behind AS stale_before,
           moment.evaluated_at - c.grace_behind AS grace_before,
           moment.evaluated_at - c.delayed_on_calls_behind AS delayed_on_calls_before,
           moment.evaluated_at - c.stale_on_calls_behind AS stale_on_calls_before,
           link.stream_down_since
    FROM moment
    CROSS JOIN unnest(:workspace_id::text[], :provider_id::text[], :delayed_after::float8[],
                      :stale_after::float8[], :grace::float8[], :delayed_behind::interval[],
                      :stale_behind::interval[], :grace_behind::interval[],
                      :delayed_on_calls_behind::interval[], :stale_on_calls_behind::interval[])
        AS c (workspace_id, provider_id, delayed_after, stale_after, grace,
              delayed_behind, stale_behind, grace_behind,
              delayed_on_calls_behind, stale_on_calls_behind)
    LEFT JOIN connection_state link
        ON link.workspace_id = c.workspace_id AND link.provider_id = c.provider_id
), judged AS MATERIALIZED (
    SELECT d.workspace_id, d.device_id, d.provider_id,
           (:tag::text IS NULL OR d.tags ? :tag)
           AND (:connection::text IS NULL OR d.provider_id = :connection)
           AND (:heard::boolean IS NULL OR (s.last_update_received_at IS NOT NULL) = :heard)
           AND (:away_at_least::float8 IS NULL
                OR away.since <= moment.evaluated_at - make_interval(secs => :away_at_least))
           AND (:away_less_than::float8 IS NULL
                OR away.since > moment.evaluated_at - make_interval(secs => :away_less_than))
           AND (:search::text IS NULL
                OR strpos(lower(concat_ws(chr(10), d.vehicle_id, d.vehicle_name, d.device_id,
                                          d.external_id)), :search) > 0) AS is_wanted,
           (:since::xid IS NULL OR age(d.xmin) BETWEEN 0 AND age(:since)
            OR age(s.xmin) BETWEEN 0 AND age(:since)) AS is_written,
           CASE WHEN :by_silence::boolean THEN away.since ELSE 'epoch' END AS rank,
           CASE WHEN s.last_update_received_at IS NULL THEN
                    CASE WHEN d.activated_at < c.grace_before THEN 'configured-no-data'
                         ELSE 'awaiting-first-data' END
                WHEN s.last_update_received_at
                     < CASE WHEN s.last_update_received_at > c.stream_down_since
                            THEN c.stale_on_calls_before ELSE c.stale_before END THEN 'stale'
                WHEN s.last_update_received_at
                     < CASE WHEN s.last_update_received_at > c.stream_down_since
                            THEN c.delayed_on_calls_before ELSE c.delayed_before END THEN 'delayed'
                ELSE 'healthy' END AS state
    FROM classes c
    JOIN devices d ON d.workspace_id = c.workspace_id AND d.provider_id = c.provider_id
                  AND coalesce(d.delayed_after_seconds, -1) = c.delayed_after
                  AND coalesce(d.stale_after_seconds, -1) = c.stale_after
                  AND coalesce(d.grace_seconds, -1) = c.grace
    JOIN device_state s ON s.workspace_id = d.workspace_id AND s.device_id = d.device_id
    CROSS JOIN moment
    CROSS JOIN LATERAL (
        SELECT least(coalesce(s.last_update_received_at, d.activated_at),
                     nullif(s.last_observed_at, '-infinity')) AS since
    ) AS away
    WHERE d.retired_at IS NULL
      AND (:workspaces::text[] IS NULL OR d.workspace_id = ANY (:workspaces))
), counts AS (
    SELECT coalesce(jsonb_object_agg(fleet, states), '{}') AS counts
    FROM (SELECT fleet, jsonb_object_agg(state, n) AS states
          FROM (SELECT CASE WHEN :by_workspace::boolean THEN workspace_id ELSE '' END AS fleet,
                       state, count(*) AS n
                FROM judged GROUP BY fleet, state) AS grouped
          GROUP BY fleet) AS fleets
), page AS MATERIALIZED (
    SELECT * FROM judged
    WHERE (:states::text[] IS NULL OR state = ANY (:states)) AND is_wanted
      AND (:device_id::text IS NULL OR device_id = :device_id)
      AND (:rows_of::text[] IS NULL OR workspace_id = ANY (:rows_of))
      AND (is_written OR (workspace_id, provider_id, device_id) IN (
               SELECT workspace_id, provider_id, min(device_id) FROM judged
               WHERE :since IS NOT NULL
               GROUP BY workspace_id, provider_id))
      AND (:after_workspace_id::text IS NULL
           OR (rank, workspace_id, device_id) > (coalesce(:after_since::timestamptz, 'epoch'),
                                                 :after_workspace_id, :after_device_id::text))
    ORDER BY rank, workspace_id, device_id
    LIMIT :limit
), marked AS MATERIALIZED (
    SELECT page.*, row_number() OVER (PARTITION BY workspace_id) = 1 AS is_first,
           row_number() OVER (PARTITION BY workspace_id, provider_id) = 1 AS is_first_of_connection
    FROM page
)
SELECT moment.evaluated_at, stamp.changes, counts.counts,
       CASE WHEN :with_as_of::boolean THEN pg_snapshot_xmin(pg_current_snapshot())::xid END AS as_of,
       facts.*
FROM moment CROSS JOIN stamp CROSS JOIN counts LEFT JOIN (
    SELECT page.rank, d.*, s.version, n.document, s.last_update_received_at,
           nullif(s.last_observed_at, '-infinity') AS last_observed_at,
           s.last_changed_at, s.statement, s.statement_begun_at, s.statement_at,
           s.statement_detail, s.last_rejected_at, s.last_rejection_reason, s.last_outdated_at,
           s.held_back_seconds,
           c.call_status, c.call_begun_at, c.call_ended_at, c.last_success_at, c.last_failure_at,
           c.failing_since, c.fault, c.fault_detail, c.complete_begun_at, c.complete_at,
           c.roster_begun_at, c.roster_at, c.not_asked_at, c.stream_status, c.stream_changed_at,
           c.stream_fault, c.stream_fault_detail, c.stream_down_since, c.data_at,
           c.data_device_id, c.other_data_at, c.readable_at, c.unreadable_at, c.sender_at,
           page.is_first, page.is_first_of_connection, f.refused_signals, o.*
    FROM marked page
    JOIN devices d USING (workspace_id, device_id)
    JOIN device_state s USING (workspace_id, device_id)
    JOIN snapshots n USING (workspace_id, device_id)
    LEFT JOIN connection_state c
        ON c.workspace_id = d.workspace_id AND c.provider_id = d.provider_id
       AND page.is_first_of_connection
    LEFT JOIN LATERAL (
        SELECT json_object_agg(r.signal, r.occurrences) AS refused_signals
        FROM (
            SELECT l.signal, sum(l.occurrences) AS occurrences
            FROM rejections l
            WHERE l.workspace_id = d.workspace_id AND l.device_id = d.device_id
              AND l.signal IS NOT NULL
              AND l.hour >= (SELECT evaluated_at FROM moment) - interval '2 hours'
            GROUP BY l.signal
        ) AS r
    ) AS f ON true
    LEFT JOIN LATERAL (
        SELECT good.ended_at AS last_good_cycle_at, newest.started_at AS last_cycle_started_at,
               newest.outcome AS last_cycle_outcome, newest.slot_start_at AS last_slot_start_at,
               earlier.started_at AS earlier_cycle_started_at, l.shard_id AS owner,
               h.expires_at AS owner_expires_at,
               greatest((h.statistics ->> 'oldest_waiting_seconds')::float8,
                        (h.statistics -> 'deferred_seconds' ->> k.workspace_id)::float8)
                   AS oldest_waiting_seconds,
               h.statistics -> 'stream_waiting_seconds' -> k.workspace_id AS stream_waiting_seconds,
               unknown.ids AS unknown_ids,
               -- Null if no shard is live: then nothing is known about a pause.
               (SELECT bool_and(coalesce((b.statistics ->> 'paused')::boolean, false))
                FROM heartbeats b
                JOIN sessions v ON v.shard_id = b.shard_id AND v.epoch = b.epoch
                WHERE v.state = 'live' AND b.expires_at >= (SELECT evaluated_at FROM moment))
                   AS is_paused
        FROM (SELECT page.workspace_id WHERE page.is_first OFFSET 0) AS k
        LEFT JOIN LATERAL (
            SELECT ended_at FROM poll_cycles y
            WHERE y.workspace_id = k.workspace_id AND y.outcome IN ('completed', 'partial')
            ORDER BY slot_start_at DESC LIMIT 1
        ) AS good ON true
        LEFT JOIN LATERAL (
            SELECT started_at, outcome, slot_start_at FROM poll_cycles y
            WHERE y.workspace_id = k.workspace_id AND y.started_at IS NOT NULL
            ORDER BY slot_start_at DESC, trigger DESC, attempt DESC LIMIT 1
        ) AS newest ON true
        LEFT JOIN LATERAL (
            SELECT started_at FROM poll_cycles y
            WHERE y.workspace_id = k.workspace_id AND y.started_at IS NOT NULL
              AND y.slot_start_at < newest.slot_start_at
            ORDER BY slot_start_at DESC, trigger DESC, attempt DESC LIMIT 1
        ) AS earlier ON true
        LEFT JOIN LATERAL (
            SELECT jsonb_agg(DISTINCT jsonb_build_array(u.provider_id, u.external_id)) AS ids
            FROM (SELECT r.provider_id, r.external_id FROM rejections r
                  WHERE r.workspace_id = k.workspace_id AND r.reason = 'unknown_device'
                  ORDER BY r.rejection_id DESC LIMIT 100) AS u
            WHERE u.external_id IS NOT NULL
        ) AS unknown ON true
        LEFT JOIN leases l ON l.resource = 'workspace:' || k.workspace_id
        LEFT JOIN heartbeats h ON h.shard_id = l.shard_id AND h.epoch = l.epoch
    ) AS o ON true
) AS facts ON true
ORDER BY facts.rank, facts.workspace_id, facts.device_id;

-- name: count_ages
-- By the number of bounds ($2, ascending, in seconds) that the age at an instant ($3) has reached.
-- Devices that were never heard have no age.
SELECT width_bucket(age, $2::float8[]) AS bucket, count(*) AS devices, sum(age) AS seconds
FROM (
    SELECT extract(epoch FROM $3::timestamptz - s.last_update_received_at)::float8 AS age
    FROM devices d JOIN device_state s USING (workspace_id, device_id)
    WHERE d.workspace_id = ANY ($1::text[]) AND d.retired_at IS NULL
      AND s.last_update_received_at IS NOT NULL
) AS heard
GROUP BY bucket;

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
-- ended when it was accepted: the swap was entered later.
SELECT e.sequence, e.recorded_at, e.received_at, e.readings, e.provider_id, e.trace_id, e.shard_id,
       e.epoch, e.resource, e.token, e.assignment, e.reception_at, a.vehicle_id, a.external_id,
       coalesce(e.recorded_at >= a.ended_at, false) AS is_outside
FROM events e
LEFT JOIN assignments a ON a.workspace_id = e.workspace_id AND a.device_id = e.device_id
                       AND a.assignment = e.assignment
WHERE e.workspace_id = :workspace_id AND e.device_id = :device_id
  AND (:before_recorded_at::timestamptz IS NULL
       OR (e.recorded_at, e.sequence) < (:before_recorded_at, :before_sequence::bigint))
ORDER BY e.recorded_at DESC, e.sequence DESC
LIMIT :limit;

-- name: list_events_after_end
-- Newest first: those that count_events_after_end counts.
SELECT e.sequence, e.recorded_at, e.received_at, e.readings, e.provider_id, e.trace_id, e.shard_id,
       e.epoch, e.resource, e.token, e.assignment, e.reception_at, a.vehicle_id, a.external_id,
       true AS is_outside
FROM events e JOIN assignments a USING (workspace_id, device_id, assignment)
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
