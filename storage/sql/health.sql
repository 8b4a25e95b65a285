-- The facts of health: pages of devices, and how many are in which state. Each answer comes from one
-- snapshot of the database.
-- A page is read by the keys that it shows, and the counts by a scan of device_state alone: neither
-- joins all devices with all states, which costs five times the scan.

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
    SELECT d.workspace_id, d.provider_id, d.delayed_after_seconds, d.stale_after_seconds,
           d.grace_seconds, count(*) AS devices
    FROM devices d JOIN workspaces a ON a.workspace_id = d.workspace_id
    WHERE (a.active OR $2::boolean) AND d.retired_at IS NULL
      AND NOT ($3 AND a.read_owner = 'legacy')
      AND ($1::text[] IS NULL OR d.workspace_id = ANY ($1))
    GROUP BY 1, 2, 3, 4, 5
) AS c ON true
LEFT JOIN workspaces w ON w.workspace_id = c.workspace_id
LEFT JOIN providers p ON p.workspace_id = c.workspace_id AND p.provider_id = c.provider_id;

-- part: health_moment
-- The instant is given (now), or read after the snapshot was taken, so that nothing seen is younger.
-- `changes` is as in list_threshold_classes: it tells whether the configuration has changed since.
-- Only one branch of the UNION runs, with a kept plan, too: so only the wanted workspaces are read.
moment AS MATERIALIZED (
    SELECT coalesce(:now::timestamptz, clock_timestamp()) AS evaluated_at
), stamp AS MATERIALIZED (
    SELECT coalesce(sum(config_version), 0)::bigint AS changes
    FROM (SELECT config_version FROM workspaces WHERE workspace_id = ANY (:workspaces::text[])
          UNION ALL
          SELECT config_version FROM workspaces WHERE :workspaces IS NULL) AS wanted
)

-- part: health_limits
-- The limits of each class as instants, and the bounds of each workspace. What arrived since
-- `fresh_since` is healthy in every class, and not stale since `not_stale_since`; what arrived before
-- `stale_before` is stale in every class, and before `late_before` it is delayed or stale. So most
-- devices have their state without a look at their class.
classes AS MATERIALIZED (
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
), bounds AS MATERIALIZED (
    SELECT workspace_id,
           max(greatest(delayed_before, delayed_on_calls_before)) AS fresh_since,
           min(least(delayed_before, delayed_on_calls_before)) AS late_before,
           max(greatest(stale_before, stale_on_calls_before)) AS not_stale_since,
           min(least(stale_before, stale_on_calls_before)) AS stale_before
    FROM (SELECT workspace_id, delayed_before, stale_before,
                 CASE WHEN stream_down_since IS NOT NULL THEN delayed_on_calls_before END
                     AS delayed_on_calls_before,
                 CASE WHEN stream_down_since IS NOT NULL THEN stale_on_calls_before END
                     AS stale_on_calls_before
          FROM classes) AS limits
    GROUP BY workspace_id
)

-- part: is_healthy
s.last_update_received_at >= b.fresh_since

-- part: is_stale
s.last_update_received_at < b.stale_before

-- part: is_delayed
s.last_update_received_at < b.late_before AND s.last_update_received_at >= b.not_stale_since

-- part: sure_state
-- The state of a device (s) that has it by all limits of its workspace (b); null for any other.
CASE WHEN
-- use: is_healthy
     THEN 'healthy' WHEN
-- use: is_stale
     THEN 'stale' WHEN
-- use: is_delayed
     THEN 'delayed' END

-- part: state_of_device
-- The comparisons of domain.health_state.state_of, for a device (d) of a class (c). Strictly before
-- a cutoff is over the limit. Of a device whose newest data came while the socket was away, the
-- limits are those of a polled one (HealthFacts.lives_on_calls).
CASE WHEN s.last_update_received_at IS NULL THEN
         CASE WHEN d.activated_at < c.grace_before THEN 'configured-no-data'
              ELSE 'awaiting-first-data' END
     WHEN s.last_update_received_at
          < CASE WHEN s.last_update_received_at > c.stream_down_since
                 THEN c.stale_on_calls_before ELSE c.stale_before END THEN 'stale'
     WHEN s.last_update_received_at
          < CASE WHEN s.last_update_received_at > c.stream_down_since
                 THEN c.delayed_on_calls_before ELSE c.delayed_before END THEN 'delayed'
     ELSE 'healthy' END

-- part: class_of_device
d.workspace_id = c.workspace_id AND d.provider_id = c.provider_id
AND coalesce(d.delayed_after_seconds, -1) = c.delayed_after
AND coalesce(d.stale_after_seconds, -1) = c.stale_after
AND coalesce(d.grace_seconds, -1) = c.grace

-- part: of_the_fleet
-- The states (s) of the workspaces that are asked about. For one workspace, PostgreSQL compares
-- devices by their ids alone, and a scan takes a third less time. It knows which of both this is,
-- because these statements are planned anew each time.
CASE WHEN :only_workspace::text IS NOT NULL THEN s.workspace_id = :only_workspace
     ELSE :workspaces::text[] IS NULL OR s.workspace_id = ANY (:workspaces) END

-- part: not_retired
-- Retired devices keep their row of device_state. A partial index lists only them.
NOT EXISTS (SELECT FROM devices gone
            WHERE gone.workspace_id = s.workspace_id AND gone.device_id = s.device_id
              AND gone.retired_at IS NOT NULL)

-- part: health_counts
-- Devices with a sure state are counted in the scan. The others are gathered, and only these are
-- looked up: the planner expects few elements of an array, and so it does not read all devices.
-- OFFSET 0 makes it one look-up of a device, and not one for each class. Counts are those of each
-- workspace (by_workspace), or of all of them under the empty name.
scanned AS MATERIALIZED (
    SELECT CASE WHEN :by_workspace::boolean THEN s.workspace_id ELSE '' END AS fleet,
           count(*) FILTER (WHERE
-- use: is_healthy
           ) AS healthy, count(*) FILTER (WHERE
-- use: is_delayed
           ) AS delayed, count(*) FILTER (WHERE
-- use: is_stale
           ) AS stale, array_agg(ROW(s.workspace_id, s.device_id, s.last_update_received_at))
               FILTER (WHERE (
-- use: sure_state
           ) IS NULL) AS others
    FROM bounds b JOIN device_state s ON s.workspace_id = b.workspace_id
    WHERE
-- use: of_the_fleet
      AND
-- use: not_retired
    GROUP BY fleet
), counted AS (
    SELECT fleet, each.state, each.n
    FROM scanned CROSS JOIN LATERAL (VALUES ('healthy', healthy), ('delayed', delayed),
                                            ('stale', stale)) AS each (state, n)
    UNION ALL
    SELECT scanned.fleet,
-- use: state_of_device
           AS state, count(*) AS n
    FROM scanned
    CROSS JOIN LATERAL unnest(scanned.others)
        AS s (workspace_id text, device_id text, last_update_received_at timestamptz)
    CROSS JOIN LATERAL (
        SELECT * FROM devices d
        WHERE d.workspace_id = s.workspace_id AND d.device_id = s.device_id
          AND d.retired_at IS NULL
        OFFSET 0
    ) AS d
    JOIN classes c ON
-- use: class_of_device
    GROUP BY 1, 2
), counts AS (
    SELECT coalesce(jsonb_object_agg(fleet, states), '{}') AS counts
    FROM (SELECT fleet, jsonb_object_agg(state, n) AS states
          FROM (SELECT fleet, state, sum(n)::bigint AS n
                FROM counted GROUP BY fleet, state HAVING sum(n) > 0) AS grouped
          GROUP BY fleet) AS fleets
)

-- name: count_health
-- The counts alone.
WITH
-- use: health_moment
,
-- use: health_limits
,
-- use: health_counts
SELECT moment.evaluated_at, stamp.changes, counts.counts
FROM moment CROSS JOIN stamp CROSS JOIN counts;

-- part: place_of_device
-- The worklist's order is HealthFacts.away_since; least() ignores nulls. Observed at -infinity is a
-- clock that was never set (0001-01-01), from before such times were refused: it is not known.
CROSS JOIN LATERAL (
    SELECT least(coalesce(s.last_update_received_at, d.activated_at),
                 nullif(s.last_observed_at, '-infinity')) AS since
) AS away

-- part: wanted_device
(:tag::text IS NULL OR d.tags ? :tag)
AND (:connection::text IS NULL OR d.provider_id = :connection)
AND (:heard::boolean IS NULL OR (s.last_update_received_at IS NOT NULL) = :heard)
AND (:away_at_least::float8 IS NULL
     OR away.since <= moment.evaluated_at - make_interval(secs => :away_at_least))
AND (:away_less_than::float8 IS NULL
     OR away.since > moment.evaluated_at - make_interval(secs => :away_less_than))
AND (:search::text IS NULL
     OR strpos(lower(concat_ws(chr(10), d.vehicle_id, d.vehicle_name, d.device_id,
                               d.external_id)), :search) > 0)
AND (:device_id::text IS NULL OR d.device_id = :device_id)

-- part: keys_by_device
-- In the order of the primary key, as far as the page goes. In this order all ranks are equal.
page AS MATERIALIZED (
    SELECT d.*, 'epoch'::timestamptz AS rank
    FROM devices d
    JOIN device_state s ON s.workspace_id = d.workspace_id AND s.device_id = d.device_id
    CROSS JOIN moment
-- use: place_of_device
    WHERE d.retired_at IS NULL AND d.workspace_id = ANY (:rows_of::text[])
      AND
-- use: wanted_device
      AND (:after_workspace_id::text IS NULL
           OR (d.workspace_id, d.device_id) > (:after_workspace_id, :after_device_id::text))
    ORDER BY d.workspace_id, d.device_id
    LIMIT :limit
)

-- part: keys_of_workspace
-- The same for at most one workspace and without filters: for any parameters, one part of the
-- primary key's index in its order.
page AS MATERIALIZED (
    SELECT d.*, 'epoch'::timestamptz AS rank
    FROM devices d
    WHERE d.retired_at IS NULL AND d.workspace_id = (:rows_of::text[])[1]
      AND (d.workspace_id, d.device_id)
          > (coalesce(:after_workspace_id::text, ''), coalesce(:after_device_id::text, ''))
    ORDER BY d.workspace_id, d.device_id
    LIMIT :limit
)

-- part: keys_by_state
-- A scan of device_state alone leaves the devices that may have one of the states (null: any). Those
-- that have it for sure are in order without a look at the device, so only the first of them are
-- looked up; all of them if devices are filtered too (is_filtered). LIMIT 1 makes each look-up one
-- by key, however many the planner expects.
candidates AS MATERIALIZED (
    SELECT s.* FROM (
        SELECT s.workspace_id, s.device_id, s.last_update_received_at, s.last_observed_at,
               CASE WHEN :by_silence::boolean
                    THEN least(s.last_update_received_at, nullif(s.last_observed_at, '-infinity'))
                    ELSE 'epoch' END AS rank,
-- use: sure_state
               AS sure
        FROM bounds b JOIN device_state s ON s.workspace_id = b.workspace_id
        WHERE
-- use: of_the_fleet
          AND
-- use: not_retired
    ) AS s
    WHERE CASE WHEN s.last_update_received_at IS NULL THEN :with_unheard::boolean
               ELSE :states::text[] IS NULL OR s.sure IS NULL OR s.sure = ANY (:states) END
), picked AS (
    (SELECT * FROM candidates
     WHERE sure IS NOT NULL
       AND (:after_workspace_id::text IS NULL
            OR (rank, workspace_id, device_id) > (coalesce(:after_since::timestamptz, 'epoch'),
                                                  :after_workspace_id, :after_device_id::text))
     ORDER BY rank, workspace_id, device_id
     LIMIT CASE WHEN NOT :is_filtered::boolean THEN :limit::bigint END)
    UNION ALL
    SELECT * FROM candidates WHERE sure IS NULL
), judged AS (
    SELECT d.*,
           CASE WHEN :by_silence THEN away.since ELSE 'epoch' END AS rank,
-- use: state_of_device
           AS state
    FROM picked s
    CROSS JOIN moment
    CROSS JOIN LATERAL (
        SELECT * FROM devices d
        WHERE d.workspace_id = s.workspace_id AND d.device_id = s.device_id
          AND d.retired_at IS NULL
        LIMIT 1
    ) AS d
-- use: place_of_device
    JOIN classes c ON
-- use: class_of_device
    WHERE
-- use: wanted_device
), page AS MATERIALIZED (
    SELECT * FROM judged
    WHERE (:states IS NULL OR state = ANY (:states))
      AND (:after_workspace_id IS NULL
           OR (rank, workspace_id, device_id) > (coalesce(:after_since, 'epoch'),
                                                 :after_workspace_id, :after_device_id))
    ORDER BY rank, workspace_id, device_id
    LIMIT :limit
)

-- part: keys_written
-- The devices of which something was written since an earlier answer, and one device of each
-- connection (since: the `as_of` of that answer). A row that its snapshot did not show has an xmin
-- of at least as_of, the oldest transaction that ran then. Others may have one, too. A negative age
-- is that of a row from before 2^31 transactions.
written AS (
    SELECT s.workspace_id, s.device_id FROM device_state s
    WHERE s.workspace_id = ANY (:rows_of::text[]) AND age(s.xmin) BETWEEN 0 AND age(:since::xid)
    UNION
    SELECT d.workspace_id, d.device_id FROM devices d
    WHERE d.workspace_id = ANY (:rows_of) AND age(d.xmin) BETWEEN 0 AND age(:since)
    UNION
    SELECT first.workspace_id, first.device_id
    FROM (SELECT DISTINCT workspace_id, provider_id FROM classes
          WHERE workspace_id = ANY (:rows_of)) AS c
    CROSS JOIN LATERAL (
        SELECT d.workspace_id, d.device_id FROM devices d
        WHERE d.workspace_id = c.workspace_id AND d.provider_id = c.provider_id
          AND d.retired_at IS NULL
        ORDER BY d.external_key DESC LIMIT 1
    ) AS first
), page AS MATERIALIZED (
    SELECT d.*, 'epoch'::timestamptz AS rank
    FROM written JOIN devices d
      ON d.workspace_id = written.workspace_id AND d.device_id = written.device_id
    WHERE d.retired_at IS NULL
      AND (:after_workspace_id::text IS NULL
           OR (d.workspace_id, d.device_id) > (:after_workspace_id, :after_device_id::text))
    ORDER BY d.workspace_id, d.device_id
    LIMIT :limit
)

-- part: keys_given
-- The devices of a worklist whose keys were read a moment ago, as far as they are active.
page AS MATERIALIZED (
    SELECT d.*, given.place AS rank
    FROM unnest(:key_workspaces::text[], :key_devices::text[]) WITH ORDINALITY
        AS given (workspace_id, device_id, place)
    CROSS JOIN LATERAL (
        SELECT * FROM devices d
        WHERE d.workspace_id = given.workspace_id AND d.device_id = given.device_id
          AND d.retired_at IS NULL
        OFFSET 0
    ) AS d
)

-- part: marked_page
-- The page's rows with what was refused of each in the last two hours. `is_first` and
-- `is_first_of_connection` mark one row of each workspace and of each connection.
marked AS MATERIALIZED (
    SELECT page.*, f.refused_signals, row_number() OVER (PARTITION BY workspace_id) = 1 AS is_first,
           row_number() OVER (PARTITION BY workspace_id, provider_id) = 1 AS is_first_of_connection
    FROM page LEFT JOIN LATERAL (
        SELECT json_object_agg(r.signal, r.occurrences) AS refused_signals
        FROM (
            SELECT l.signal, sum(l.occurrences) AS occurrences
            FROM rejections l
            WHERE l.workspace_id = page.workspace_id AND l.device_id = page.device_id
              AND l.signal IS NOT NULL
              AND l.hour >= (SELECT evaluated_at FROM moment) - interval '2 hours'
            GROUP BY l.signal
        ) AS r
    ) AS f ON true
)

-- part: marked_page_in_order
-- The same for a plan that is kept. It may have been made for an empty table, for which all indexes
-- seem equal; but only rejections_device_index has the rows of a device in this order.
marked AS MATERIALIZED (
    SELECT page.*, f.refused_signals, row_number() OVER (PARTITION BY workspace_id) = 1 AS is_first,
           row_number() OVER (PARTITION BY workspace_id, provider_id) = 1 AS is_first_of_connection
    FROM page LEFT JOIN LATERAL (
        SELECT json_object_agg(r.signal, r.occurrences) AS refused_signals
        FROM (
            SELECT l.signal, sum(l.occurrences) AS occurrences
            FROM (
                SELECT signal, occurrences
                FROM rejections
                WHERE (workspace_id, device_id) <= (page.workspace_id, page.device_id)
                  AND (workspace_id, device_id, hour)
                      >= (page.workspace_id, page.device_id,
                          (SELECT evaluated_at FROM moment) - interval '2 hours')
                  AND signal IS NOT NULL
                ORDER BY workspace_id, device_id, hour
                OFFSET 0
            ) AS l
            GROUP BY l.signal
        ) AS r
    ) AS f ON true
)

-- part: facts_of_page
-- A page has the rows of its devices. What else is known of each is looked up by its keys: OFFSET 0
-- leaves no other way, whatever the planner expects.
-- What is known of a connection stands in one of its rows only (is_first_of_connection), and what is
-- known of a workspace's collector in one of the workspace's rows (is_first): four index look-ups,
-- its newest good cycle, its newest started one, the start before that slot and the newest unknown
-- ids; and who has its lease, with the heartbeat of that session: not who ran the newest cycle, for
-- a new owner may not have begun one yet. Not joined from a table of collectors: the planner expects
-- one row of it and loops over all. OFFSET 0 keeps the condition inside, so that other rows look up
-- nothing.
facts AS (
    SELECT page.*, s.version, n.document, s.last_update_received_at,
           nullif(s.last_observed_at, '-infinity') AS last_observed_at,
           s.last_changed_at, s.statement, s.statement_begun_at, s.statement_at,
           s.statement_detail, s.last_rejected_at, s.last_rejection_reason, s.last_outdated_at,
           s.held_back_seconds,
           c.call_status, c.call_begun_at, c.call_ended_at, c.last_success_at, c.last_failure_at,
           c.failing_since, c.fault, c.fault_detail, c.complete_begun_at, c.complete_at,
           c.roster_begun_at, c.roster_at, c.not_asked_at, c.stream_status, c.stream_changed_at,
           c.stream_fault, c.stream_fault_detail, c.stream_down_since, c.data_at,
           c.data_device_id, c.other_data_at, c.readable_at, c.unreadable_at, c.sender_at,
           o.*
    FROM marked page
    CROSS JOIN LATERAL (
        SELECT * FROM device_state
        WHERE workspace_id = page.workspace_id AND device_id = page.device_id OFFSET 0
    ) AS s
    CROSS JOIN LATERAL (
        SELECT document FROM snapshots
        WHERE workspace_id = page.workspace_id AND device_id = page.device_id OFFSET 0
    ) AS n
    LEFT JOIN LATERAL (
        SELECT * FROM connection_state
        WHERE workspace_id = page.workspace_id AND provider_id = page.provider_id
          AND page.is_first_of_connection OFFSET 0
    ) AS c ON true
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
        LEFT JOIN LATERAL (
            SELECT shard_id, epoch FROM leases
            WHERE resource = 'workspace:' || k.workspace_id OFFSET 0
        ) AS l ON true
        LEFT JOIN LATERAL (
            SELECT expires_at, statistics FROM heartbeats
            WHERE shard_id = l.shard_id AND epoch = l.epoch OFFSET 0
        ) AS h ON true
    ) AS o ON true
)

-- name: page_by_device
-- The devices of some workspaces by id. One row at least, with the instant.
WITH
-- use: health_moment
,
-- use: keys_by_device
,
-- use: marked_page
,
-- use: facts_of_page
SELECT moment.evaluated_at, stamp.changes, facts.*
FROM moment CROSS JOIN stamp LEFT JOIN facts ON true
ORDER BY facts.rank, facts.workspace_id, facts.device_id;

-- name: page_of_workspace
-- page_by_device for one workspace and without filters. Its plan is kept: docs/decisions/0061.
WITH
-- use: health_moment
,
-- use: keys_of_workspace
,
-- use: marked_page_in_order
,
-- use: facts_of_page
SELECT moment.evaluated_at, stamp.changes, facts.*
FROM moment CROSS JOIN stamp LEFT JOIN facts ON true
ORDER BY facts.rank, facts.workspace_id, facts.device_id;

-- name: page_by_device_counted
-- The same with the counts of the same snapshot, and `as_of` for page_written.
WITH
-- use: health_moment
,
-- use: health_limits
,
-- use: health_counts
,
-- use: keys_by_device
,
-- use: marked_page
,
-- use: facts_of_page
SELECT moment.evaluated_at, stamp.changes, counts.counts,
       pg_snapshot_xmin(pg_current_snapshot())::xid AS as_of, facts.*
FROM moment CROSS JOIN stamp CROSS JOIN counts LEFT JOIN facts ON true
ORDER BY facts.rank, facts.workspace_id, facts.device_id;

-- name: page_by_state
-- The devices in some states, by id or longest away first. One row at least, with the instant.
WITH
-- use: health_moment
,
-- use: health_limits
,
-- use: keys_by_state
,
-- use: marked_page
,
-- use: facts_of_page
SELECT moment.evaluated_at, stamp.changes, facts.*
FROM moment CROSS JOIN stamp LEFT JOIN facts ON true
ORDER BY facts.rank, facts.workspace_id, facts.device_id;

-- name: page_by_state_counted
-- The same with the counts of the same snapshot.
WITH
-- use: health_moment
,
-- use: health_limits
,
-- use: health_counts
,
-- use: keys_by_state
,
-- use: marked_page
,
-- use: facts_of_page
SELECT moment.evaluated_at, stamp.changes, counts.counts, facts.*
FROM moment CROSS JOIN stamp CROSS JOIN counts LEFT JOIN facts ON true
ORDER BY facts.rank, facts.workspace_id, facts.device_id;

-- name: page_written
-- What was written since an answer of page_by_device_counted, with the counts.
WITH
-- use: health_moment
,
-- use: health_limits
,
-- use: health_counts
,
-- use: keys_written
,
-- use: marked_page
,
-- use: facts_of_page
SELECT moment.evaluated_at, stamp.changes, counts.counts,
       pg_snapshot_xmin(pg_current_snapshot())::xid AS as_of, facts.*
FROM moment CROSS JOIN stamp CROSS JOIN counts LEFT JOIN facts ON true
ORDER BY facts.rank, facts.workspace_id, facts.device_id;

-- name: page_of_keys
-- Devices by their keys. One row at least, with the instant. Its plan is kept, too.
WITH
-- use: health_moment
,
-- use: keys_given
,
-- use: marked_page_in_order
,
-- use: facts_of_page
SELECT moment.evaluated_at, stamp.changes, facts.*
FROM moment CROSS JOIN stamp LEFT JOIN facts ON true
ORDER BY facts.rank, facts.workspace_id, facts.device_id;

-- name: page_of_keys_counted
-- The same with the counts of the same snapshot.
WITH
-- use: health_moment
,
-- use: health_limits
,
-- use: health_counts
,
-- use: keys_given
,
-- use: marked_page
,
-- use: facts_of_page
SELECT moment.evaluated_at, stamp.changes, counts.counts, facts.*
FROM moment CROSS JOIN stamp CROSS JOIN counts LEFT JOIN facts ON true
ORDER BY facts.rank, facts.workspace_id, facts.device_id;

-- name: list_keys_by_state
-- The keys of page_by_state, for a worklist that is kept for a moment. One row at least.
WITH
-- use: health_moment
,
-- use: health_limits
,
-- use: keys_by_state
SELECT moment.evaluated_at, stamp.changes, page.workspace_id, page.device_id, page.rank
FROM moment CROSS JOIN stamp LEFT JOIN page ON true
ORDER BY page.rank, page.workspace_id, page.device_id;

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
