-- What is dropped when its time is over, and the spans into which cycles and refusals go. Each
-- statement handles one batch, because a long delete would hold back vacuum for every table. now()
-- rather than clock_timestamp(), which may change from row to row, so that the index could not
-- serve the comparison.

-- name: drop_old_poll_cycles
-- Cycles of one workspace and like outcome that follow each other become a span. A pause of more
-- than two hours ends it, for no interval is longer than one. The first run of the batch goes on
-- with the workspace's newest span where it can. In the order of slots, so that no cycle comes
-- after a later one.
WITH expired AS (
    DELETE FROM poll_cycles WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM poll_cycles
        WHERE slot_start_at < now() - make_interval(days => $1)
          AND outcome NOT IN ('requested', 'running')
        ORDER BY slot_start_at, workspace_id, trigger, attempt
        LIMIT $2))
    RETURNING workspace_id, slot_start_at, trigger, attempt, started_at, ended_at, outcome
), marked AS (
    SELECT *, (lag(outcome) OVER by_time = outcome AND slot_start_at
               - lag(slot_start_at) OVER by_time <= interval '2 hours') IS NOT TRUE AS begins
    FROM expired
    WINDOW by_time AS (PARTITION BY workspace_id ORDER BY slot_start_at, trigger, attempt)
), numbered AS (
    SELECT *, count(*) FILTER (WHERE begins) OVER (
               PARTITION BY workspace_id ORDER BY slot_start_at, trigger, attempt) AS run
    FROM marked
), runs AS (
    SELECT workspace_id, run, outcome, count(*) AS cycles, min(slot_start_at) AS first_slot_at,
           max(slot_start_at) AS last_slot_at, max(started_at) AS last_started_at,
           max(ended_at) AS last_ended_at
    FROM numbered GROUP BY workspace_id, run, outcome
), continued AS (
    UPDATE cycle_spans s
    SET cycles = s.cycles + r.cycles, last_slot_at = r.last_slot_at,
        last_started_at = coalesce(r.last_started_at, s.last_started_at),
        last_ended_at = coalesce(r.last_ended_at, s.last_ended_at)
    FROM runs r
    WHERE r.run = 1 AND s.workspace_id = r.workspace_id AND s.outcome = r.outcome
      AND r.first_slot_at - s.last_slot_at BETWEEN interval '0' AND interval '2 hours'
      AND s.span_id = (SELECT max(n.span_id) FROM cycle_spans n
                       WHERE n.workspace_id = r.workspace_id)
    RETURNING s.workspace_id
), begun AS (
    INSERT INTO cycle_spans (workspace_id, outcome, cycles, first_slot_at, last_slot_at,
                             last_started_at, last_ended_at)
    SELECT workspace_id, outcome, cycles, first_slot_at, last_slot_at, last_started_at,
           last_ended_at
    FROM runs
    WHERE run > 1 OR workspace_id NOT IN (SELECT workspace_id FROM continued)
    ORDER BY workspace_id, run
)
SELECT count(*) FROM expired;

-- name: drop_old_rejections
-- Refusals that differ in nothing but their hour become a span. A pause of more than two hours ends
-- it. The digest stands for what they have in common, as in rejections.
WITH expired AS (
    DELETE FROM rejections WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM rejections WHERE recorded_at < now() - make_interval(days => $1)
        ORDER BY recorded_at
        LIMIT $2))
    RETURNING workspace_id, recorded_at, coalesce(last_at, recorded_at) AS last_at, occurrences,
              origin, provider_id, device_id, external_id, outcome, reason, signal,
              substring(sha256(convert_to(jsonb_build_array(
                  origin, provider_id, device_id, external_id, outcome, reason, signal
              )::text, 'UTF8')) FOR 16) AS digest
), numbered AS (
    SELECT *, count(*) FILTER (WHERE begins) OVER (
               PARTITION BY workspace_id, digest ORDER BY recorded_at, last_at) AS run
    FROM (
        SELECT *, (recorded_at - lag(last_at) OVER (
                   PARTITION BY workspace_id, digest ORDER BY recorded_at, last_at
                   ) <= interval '2 hours') IS NOT TRUE AS begins
        FROM expired
    ) AS marked
), runs AS (
    SELECT workspace_id, digest, run, origin, provider_id, device_id, external_id, outcome, reason,
           signal, sum(occurrences) AS occurrences, min(recorded_at) AS first_at,
           max(last_at) AS last_at
    FROM numbered
    GROUP BY workspace_id, digest, run, origin, provider_id, device_id, external_id, outcome,
             reason, signal
), continued AS (
    UPDATE rejection_spans s
    SET occurrences = s.occurrences + r.occurrences, last_at = greatest(s.last_at, r.last_at)
    FROM runs r
    WHERE r.run = 1 AND s.workspace_id = r.workspace_id AND s.digest = r.digest
      AND r.first_at - s.last_at <= interval '2 hours'
      AND s.span_id = (SELECT max(n.span_id) FROM rejection_spans n
                       WHERE n.workspace_id = r.workspace_id AND n.digest = r.digest)
    RETURNING s.workspace_id, s.digest
), begun AS (
    INSERT INTO rejection_spans (workspace_id, digest, origin, provider_id, device_id, external_id,
                                 outcome, reason, signal, occurrences, first_at, last_at)
    SELECT workspace_id, digest, origin, provider_id, device_id, external_id, outcome, reason,
           signal, occurrences, first_at, last_at
    FROM runs
    WHERE run > 1 OR (workspace_id, digest) NOT IN (SELECT workspace_id, digest FROM continued)
    ORDER BY workspace_id, digest, run
)
SELECT count(*) FROM expired;

-- name: drop_old_cycle_spans
-- By the newest cycle of the span.
WITH dropped AS (
    DELETE FROM cycle_spans WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM cycle_spans
        WHERE last_slot_at < now() - make_interval(days => $1) LIMIT $2))
    RETURNING 1
)
SELECT count(*) FROM dropped;

-- name: drop_old_rejection_spans
-- By the newest refusal of the span.
WITH dropped AS (
    DELETE FROM rejection_spans WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM rejection_spans
        WHERE last_at < now() - make_interval(days => $1) LIMIT $2))
    RETURNING 1
)
SELECT count(*) FROM dropped;

-- name: drop_old_connection_events
-- An edge says what holds until the next one of the same fact, which is the first word of its kind.
-- So it goes only when the next one is too old as well.
WITH dropped AS (
    DELETE FROM connection_events WHERE ctid = ANY (ARRAY(
        SELECT e.ctid FROM connection_events e
        WHERE e.at < now() - make_interval(days => $1) AND EXISTS (
            SELECT FROM connection_events n
            WHERE n.workspace_id = e.workspace_id AND n.provider_id = e.provider_id
              AND split_part(n.kind, '_', 1) = split_part(e.kind, '_', 1)
              AND n.event_id > e.event_id AND n.at < now() - make_interval(days => $1))
        LIMIT $2))
    RETURNING 1
)
SELECT count(*) FROM dropped;

-- name: drop_old_device_events
-- As drop_old_connection_events. A device has two facts: the provider's statement about it, and
-- whether what it sends is taken.
WITH dropped AS (
    DELETE FROM device_events WHERE ctid = ANY (ARRAY(
        SELECT e.ctid FROM device_events e
        WHERE e.at < now() - make_interval(days => $1) AND EXISTS (
            SELECT FROM device_events n
            WHERE n.workspace_id = e.workspace_id AND n.device_id = e.device_id
              AND (n.kind IN ('named', 'left_out', 'error'))
                = (e.kind IN ('named', 'left_out', 'error'))
              AND n.event_id > e.event_id AND n.at < now() - make_interval(days => $1))
        LIMIT $2))
    RETURNING 1
)
SELECT count(*) FROM dropped;

-- name: drop_old_backlog_events
-- As drop_old_connection_events. The fact is that of a shard, or of a workspace in it.
WITH dropped AS (
    DELETE FROM backlog_events WHERE (shard_id, event_id) IN (
        SELECT e.shard_id, e.event_id FROM backlog_events e
        WHERE e.at < now() - make_interval(days => $1) AND EXISTS (
            SELECT FROM backlog_events n
            WHERE n.shard_id = e.shard_id AND n.workspace_id IS NOT DISTINCT FROM e.workspace_id
              AND n.event_id > e.event_id AND n.at < now() - make_interval(days => $1))
        LIMIT $2)
    RETURNING 1
)
SELECT count(*) FROM dropped;

-- name: drop_old_parity_cycles
-- Kept as long as cycles.
WITH dropped AS (
    DELETE FROM parity_cycles WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM parity_cycles
        WHERE slot_start_at < now() - make_interval(days => $1) LIMIT $2))
    RETURNING 1
)
SELECT count(*) FROM dropped;

-- name: drop_old_quarantine
-- Kept as long as events.
WITH dropped AS (
    DELETE FROM quarantine WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM quarantine WHERE recorded_at < now() - make_interval(days => $1) LIMIT $2))
    RETURNING 1
)
SELECT count(*) FROM dropped;

-- name: drop_old_indicator_hours
-- By the hour that they count.
WITH dropped AS (
    DELETE FROM indicator_hours WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM indicator_hours
        WHERE hour < now() - make_interval(days => $1) LIMIT $2))
    RETURNING 1
)
SELECT count(*) FROM dropped;

-- name: drop_old_sign_ins
-- By the end of the sign-in, early or in time. The table is small: no index serves this.
WITH dropped AS (
    DELETE FROM sign_ins WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM sign_ins
        WHERE coalesce(ended_at, expires_at) < now() - make_interval(days => $1) LIMIT $2))
    RETURNING 1
)
SELECT count(*) FROM dropped;
