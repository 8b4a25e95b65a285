-- The schema as it is, for reading. tests/storage/test_schema.py compares it with the result of the
-- migrations. workspace_id comes first in every key of workspace data. Times are timestamptz in
-- database time unless a comment says otherwise. A closed set of values is text with a check. Every
-- table is in use.

-- One customer's fleet. ordinal determines when its slots begin, unless start_offset_seconds does
-- (domain.schedule). Activation takes the lowest free ordinal of the interval and sets
-- scheduled_since; deactivation frees the ordinal. Another offset sets scheduled_since too.
CREATE TABLE workspaces (
    workspace_id             text PRIMARY KEY,
    name                     text NOT NULL,
    active                   boolean NOT NULL DEFAULT true,
    ordinal                  integer CONSTRAINT workspaces_ordinal_check CHECK (ordinal >= 0),
    poll_interval_seconds    integer NOT NULL DEFAULT 300
                             CONSTRAINT workspaces_poll_interval_check
                             CHECK (poll_interval_seconds BETWEEN 2 AND 3600),
    freshness_target_seconds double precision NOT NULL DEFAULT 300,
    delayed_after_seconds    double precision NOT NULL DEFAULT 360,
    stale_after_seconds      double precision NOT NULL DEFAULT 900,
    grace_seconds            double precision NOT NULL DEFAULT 3600,
    config_version           bigint NOT NULL DEFAULT 1, -- raised by changes that actors must see
    created_at               timestamptz NOT NULL DEFAULT clock_timestamp(),
    scheduled_since          timestamptz,
    active_changed_at        timestamptz, -- of the newest activation or deactivation; null: never
    revision                 bigint NOT NULL DEFAULT 1, -- counts the workspace's changes: its ETag
    policy_revision          bigint NOT NULL DEFAULT 1, -- counts those of thresholds and interval
    archived_at              timestamptz, -- null: in use. The id is never used again.
    time_zone                text NOT NULL DEFAULT 'UTC', -- IANA name, for showing times
    start_offset_seconds     integer, -- the explicit offset of its starts; null: by ordinal
    device_registry_source   text NOT NULL DEFAULT 'core'
                             CONSTRAINT workspaces_registry_source_check
                             CHECK (device_registry_source IN ('legacy_sync', 'core')),
    poll_owner               text NOT NULL DEFAULT 'core'
                             CONSTRAINT workspaces_poll_owner_check
                             CHECK (poll_owner IN ('legacy', 'both_shadow', 'core')),
    read_owner               text NOT NULL DEFAULT 'core'
                             CONSTRAINT workspaces_read_owner_check
                             CHECK (read_owner IN ('legacy', 'core')),
    provider_mode            text NOT NULL DEFAULT 'legacy_provider'
                             CONSTRAINT workspaces_provider_mode_check
                             CHECK (provider_mode IN ('legacy_provider', 'depot_sim', 'mixed')),
    cutover_revision         bigint NOT NULL DEFAULT 1, -- counts changes of flags and of cutovers
    asking_changed_at        timestamptz, -- of the newest change of which providers are asked; null: never
    CONSTRAINT workspaces_cutover_check CHECK (read_owner <> 'core' OR poll_owner <> 'legacy'),
    CONSTRAINT workspaces_archived_check CHECK (archived_at IS NULL OR NOT active),
    CONSTRAINT workspaces_thresholds_check
        CHECK (0 < freshness_target_seconds AND freshness_target_seconds <= delayed_after_seconds
               AND delayed_after_seconds < stale_after_seconds AND grace_seconds > 0),
    CONSTRAINT workspaces_ordinal_key UNIQUE (poll_interval_seconds, ordinal),
    CONSTRAINT workspaces_start_offset_check
        CHECK (0 <= start_offset_seconds AND start_offset_seconds < poll_interval_seconds),
    CONSTRAINT workspaces_scheduled_check
        CHECK ((ordinal IS NOT NULL) = active AND (scheduled_since IS NOT NULL) = active)
);

-- How one workspace reaches one provider. credential is a reference (env:NAME, file:PATH), never a
-- secret.
CREATE TABLE providers (
    workspace_id            text NOT NULL CONSTRAINT providers_workspace_fkey REFERENCES workspaces,
    provider_id             text NOT NULL,
    provider_type           text NOT NULL,
    transport               text NOT NULL
                            CONSTRAINT providers_transport_check
                            CHECK (transport IN ('poll', 'stream', 'push')),
    base_url                text NOT NULL,
    credential              text,
    settings                jsonb NOT NULL DEFAULT '{}',
    active                  boolean NOT NULL DEFAULT true,
    expected_update_seconds double precision
                            CONSTRAINT providers_expected_update_check
                            CHECK (expected_update_seconds > 0),
    delayed_after_seconds   double precision
                            CONSTRAINT providers_delayed_check CHECK (delayed_after_seconds > 0),
    stale_after_seconds     double precision
                            CONSTRAINT providers_stale_check CHECK (stale_after_seconds > 0),
    grace_seconds           double precision
                            CONSTRAINT providers_grace_check CHECK (grace_seconds > 0),
    created_at              timestamptz NOT NULL DEFAULT clock_timestamp(),
    active_changed_at       timestamptz, -- of the newest activation or deactivation; null: never
    ids_are_vins            boolean NOT NULL DEFAULT false, -- as its type says
    revision                bigint NOT NULL DEFAULT 1, -- counts its changes: its ETag
    archived_at             timestamptz, -- null: in use. The id is never used again.
    -- the period is what the vendor's documents say, and no person has stated it
    period_is_documented    boolean NOT NULL DEFAULT false,
    simulated               boolean NOT NULL DEFAULT false, -- leads to a simulator
    PRIMARY KEY (workspace_id, provider_id),
    CONSTRAINT providers_archived_check CHECK (archived_at IS NULL OR NOT active),
    CONSTRAINT providers_documented_check
        CHECK (NOT period_is_documented OR expected_update_seconds IS NOT NULL)
);

-- The present state of a connection. Created with the provider and written within the fenced unit.
-- The cursor moves only together with the data that it covers. Calls (a poll, a state call) and the
-- stream keep their last results apart. "Begun" is when the call was begun: what an answer says is
-- true of no earlier moment than that.
CREATE TABLE connection_state (
    workspace_id      text NOT NULL,
    provider_id       text NOT NULL,
    call_status       text
                      CONSTRAINT connection_state_call_check
                      CHECK (call_status IN ('succeeded', 'failed')),
    last_success_at   timestamptz,
    last_failure_at   timestamptz,
    failing_since     timestamptz, -- null while calls succeed
    fault             text,        -- class of the last failure: domain.model.FaultClass
    fault_detail      text,
    stream_status     text
                      CONSTRAINT connection_state_stream_check
                      CHECK (stream_status IN ('open', 'closed')),
    stream_changed_at timestamptz,
    cursor            text,
    cursor_at         timestamptz,
    call_begun_at     timestamptz, -- of the newest call that ended, answered or failed
    call_ended_at     timestamptz,
    complete_begun_at timestamptz, -- of the newest run that read everything since its cursor
    complete_at       timestamptz,
    roster_begun_at   timestamptz, -- of the newest answer that names every vehicle of the account
    roster_at         timestamptz,
    not_asked_at      timestamptz, -- a cycle ended without asking, and no Retry-After was running
    stream_fault      text,        -- class of the stream's last failure: domain.model.FaultClass
    stream_fault_detail text,
    stream_down_since timestamptz, -- null once a socket has been open for 60 s and brought data
    data_at           timestamptz, -- arrival of the newest data, and of which device it was
    data_device_id    text,
    other_data_at     timestamptz, -- arrival of the newest data of any other device
    readable_at       timestamptz, -- newest answer or frame that could be read
    unreadable_at     timestamptz, -- newest answer or frame that could not be read at all
    sender_at         timestamptz, -- push: when somebody last sent
    PRIMARY KEY (workspace_id, provider_id),
    CONSTRAINT connection_state_provider_fkey
        FOREIGN KEY (workspace_id, provider_id) REFERENCES providers
) WITH (fillfactor = 70);

-- Edges only, by facts: the first word of a kind names the fact, and an edge holds until the next one
-- of it. Calls: the first failure, a recovery, another class of fault. The stream: opened, closed,
-- steady again after a trouble. Cycles: one ended without asking, the next call. Answers: the newest
-- call gave a complete one, or not. Data: nothing that comes can be read, it can again. Rosters and
-- senders: the first, and the first after a pause (a day; 15 minutes).
CREATE TABLE connection_events (
    workspace_id text NOT NULL,
    provider_id  text NOT NULL,
    at           timestamptz NOT NULL,
    kind         text NOT NULL CONSTRAINT connection_events_kind_check
                 CHECK (kind IN ('call_succeeded', 'call_failed',
                                 'stream_opened', 'stream_closed', 'stream_steady',
                                 'cycle_asked', 'cycle_not_asked',
                                 'answer_complete', 'answer_incomplete',
                                 'data_readable', 'data_unreadable',
                                 'roster_answered', 'sender_returned')),
    fault        text,
    detail       text,
    event_id     bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (workspace_id, provider_id, event_id)
);
CREATE INDEX connection_events_at_index ON connection_events (at); -- for retention

-- The telematics unit that is configured for one vehicle. Active from activated_at until
-- retired_at, never deleted.
CREATE TABLE devices (
    workspace_id          text NOT NULL,
    device_id             text NOT NULL,
    provider_id           text NOT NULL,
    external_id           text NOT NULL, -- the provider's name for it: vid, VIN
    vehicle_id            text NOT NULL,
    vehicle_name          text NOT NULL,
    activated_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at            timestamptz,
    delayed_after_seconds double precision
                          CONSTRAINT devices_delayed_check CHECK (delayed_after_seconds > 0),
    stale_after_seconds   double precision
                          CONSTRAINT devices_stale_check CHECK (stale_after_seconds > 0),
    grace_seconds         double precision CONSTRAINT devices_grace_check CHECK (grace_seconds > 0),
    created_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    assignment            integer NOT NULL DEFAULT 1, -- the present or last one of assignments
    ids_are_vins          boolean NOT NULL DEFAULT false,
    external_key          text NOT NULL, -- by which ids are compared: domain/identity.py
    other_spans           jsonb, -- [[from, until], …]: the id sat in another vehicle
    revision              bigint NOT NULL DEFAULT 1, -- counts its changes: its ETag
    tags                  jsonb NOT NULL DEFAULT '[]' -- the customer's labels, sorted
                          CONSTRAINT devices_tags_check CHECK (jsonb_typeof(tags) = 'array'),
    PRIMARY KEY (workspace_id, device_id),
    CONSTRAINT devices_provider_fkey FOREIGN KEY (workspace_id, provider_id) REFERENCES providers
);
-- One active device for each external id of a provider connection. Updates find their device by it.
CREATE UNIQUE INDEX devices_external_key ON devices (workspace_id, provider_id, external_key)
    WHERE retired_at IS NULL;
-- Counts of devices leave these out: their rows of device_state stay.
CREATE INDEX devices_retired_index ON devices (workspace_id, device_id)
    WHERE retired_at IS NOT NULL;

-- The spans in which a device was active for one vehicle with one unit (provider, external id).
-- Kept for ever. The newest one of a device is also in its row of devices, for the hot paths.
CREATE TABLE assignments (
    workspace_id text NOT NULL,
    device_id    text NOT NULL,
    assignment   integer NOT NULL -- 1, 2, 3 … of the device
                 CONSTRAINT assignments_assignment_check CHECK (assignment > 0),
    provider_id  text NOT NULL,
    external_id  text NOT NULL,
    external_key text NOT NULL,
    vehicle_id   text NOT NULL,
    vehicle_name text NOT NULL,
    effective_at timestamptz NOT NULL, -- from then on the unit sat in the vehicle, as stated
    entered_at   timestamptz NOT NULL DEFAULT clock_timestamp(), -- when that was stated
    ended_at     timestamptz,          -- null: the present one
    PRIMARY KEY (workspace_id, device_id, assignment),
    CONSTRAINT assignments_device_fkey
        FOREIGN KEY (workspace_id, device_id) REFERENCES devices
);
-- Every vehicle in which an external id ever sat.
CREATE INDEX assignments_external_index ON assignments (workspace_id, provider_id, external_key);

-- Append-only: what people changed, when, from where, and with which key. One entry for each thing that
-- a command changed, with its configuration before and after; secrets are references. Kept for ever.
-- The newest entry of a subject at or before an instant says how it was configured then.
CREATE TABLE changes (
    workspace_id text, -- null: a key
    change_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text NOT NULL CONSTRAINT changes_kind_check
                 CHECK (kind IN ('workspace', 'policy', 'provider', 'device', 'import', 'key', 'cycle',
                                 'replay', 'cutover', 'sync')),
    subject      text NOT NULL, -- the id of what was changed; of many devices, that of their workspace
    at           timestamptz NOT NULL,
    who          text NOT NULL, -- key_id; 'system': the program itself; 'upgrade': a migration
    before       jsonb,         -- null: it is new
    after        jsonb NOT NULL,
    trace_id     text,
    address      text,          -- from where the command came; null: the program itself
    part_of      bigint,        -- the entry of the import or sync that changed this device
    CONSTRAINT changes_workspace_check CHECK ((workspace_id IS NULL) = (kind = 'key'))
);
-- the newest entry of each subject at or before an instant
CREATE INDEX changes_subject_index ON changes (workspace_id, kind, subject, at DESC, change_id DESC);
-- the audit of a workspace, and the devices of an import
CREATE INDEX changes_workspace_index ON changes (workspace_id, change_id) WHERE part_of IS NULL;
CREATE INDEX changes_part_index ON changes (part_of, change_id) WHERE part_of IS NOT NULL;

-- The narrow row that health filters and sorts by. Created with the device. No index covers a
-- column that changes, and pages keep free room, so that a new row version stays on its page (HOT).
-- Vacuum starts at a fixed count of dead rows: a share of a large fleet would come too late.
CREATE TABLE device_state (
    workspace_id            text NOT NULL,
    device_id               text NOT NULL,
    -- number of accepted updates = sequence of the newest event
    version                 bigint NOT NULL DEFAULT 0,
    last_update_received_at timestamptz,
    last_observed_at        timestamptz, -- the provider's clock: newest reading of the snapshot
    last_changed_at         timestamptz,
    last_rejected_at        timestamptz, -- arrival of the newest data that was refused whole
    last_rejection_reason   text,
    statement               text         -- the provider's newest statement about the device
                            CONSTRAINT device_state_statement_check
                            CHECK (statement IN ('named', 'left_out', 'error')),
    statement_begun_at      timestamptz, -- when the call of that statement was begun
    statement_at            timestamptz, -- and when it was answered
    statement_detail        text,        -- the words of an error
    last_outdated_at        timestamptz, -- arrival of the newest data of which everything was older
    held_back_seconds       double precision, -- how long the newest accepted data was held back
    -- the provider's own reception of the newest data that was refused whole or outdated: what it
    -- repeats is no news
    unaccepted_reception_at timestamptz,
    -- Of the present assignment: a unit that waited for this row finds out that the device changed.
    assignment              integer NOT NULL DEFAULT 1,
    entered_at              timestamptz, -- null: the first one, for which everything counts
    PRIMARY KEY (workspace_id, device_id),
    CONSTRAINT device_state_device_fkey FOREIGN KEY (workspace_id, device_id) REFERENCES devices
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Edges only, of the device: the provider's statement about it became another kind (named, left_out,
-- error), or what it sends began to be refused whole (refused, with the reason), to be only older
-- than what is stored (outdated), or to be accepted again. Nothing is written while a state lasts.
CREATE TABLE device_events (
    workspace_id text NOT NULL,
    device_id    text NOT NULL,
    at           timestamptz NOT NULL,
    kind         text NOT NULL CONSTRAINT device_events_kind_check
                 CHECK (kind IN ('named', 'left_out', 'error',
                                 'refused', 'outdated', 'accepted')),
    detail       text,
    event_id     bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (workspace_id, device_id, event_id)
);
CREATE INDEX device_events_at_index ON device_events (at); -- for retention

-- The single authoritative current state of a device, one entry for each signal: [value, stated time
-- in microseconds since 1970, and relative to it the arrival, the provider's reception or null, and
-- the last change of the value or null]. json, not jsonb: only the service reads it
-- (docs/decisions/0022). A document that was not written since migration 0009 has entries of two
-- members, [88.5, "2026-05-01T10:00:00Z"]. Created with the device.
CREATE TABLE snapshots (
    workspace_id text NOT NULL,
    device_id    text NOT NULL,
    version      bigint NOT NULL DEFAULT 0,
    document     json NOT NULL DEFAULT '{}',
    PRIMARY KEY (workspace_id, device_id),
    CONSTRAINT snapshots_device_fkey FOREIGN KEY (workspace_id, device_id) REFERENCES devices
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Append-only: one row for each accepted update, with the readings that advanced. sequence is the
-- snapshot's version. Partitioned by day of recorded_at. The upkeep actor creates the partitions
-- ahead of time and names them events_YYYYMMDD. Events are most of what is stored, so they are kept
-- narrow: readable_events (below) is for people. A row of before migration 0027 has `readings`
-- instead of `observed_at` and `signals`, and its trace id and resource as text in any case.
CREATE TABLE events (
    workspace_id text NOT NULL,
    device_id    text NOT NULL,
    sequence     bigint NOT NULL,
    recorded_at  timestamptz NOT NULL, -- one instant for a unit, read after the devices were locked
    received_at  timestamptz NOT NULL,
    readings     jsonb,  -- of before: {"soc_percent": [88.5, "2026-05-01T10:00:00Z"]}
    provider_id  text NOT NULL,
    trace_id     text,   -- one that is not 32 hexadecimal digits
    shard_id     text NOT NULL,
    epoch        bigint NOT NULL,
    resource     text,   -- what the shard owned when it collected; null for the event's workspace
    token        bigint, -- null for updates over HTTP, for which the shard owned nothing
    assignment   integer NOT NULL DEFAULT 1, -- of the device, when it was accepted
    reception_at timestamptz, -- the provider's own, where it states one; null in rows of before
    observed_at  timestamptz, -- the newest stated time of its readings
    trace        uuid,   -- a trace id of 32 hexadecimal digits
    -- {"soc_percent": 88.5, "odometer_km": [1234.5, -15000000]}: a value that was stated at
    -- observed_at, or a value and the microseconds from observed_at. A position is a pair itself.
    signals      json
) PARTITION BY RANGE (recorded_at);
CREATE INDEX events_device_index ON events (workspace_id, device_id, recorded_at);

-- The readings of one event in either form, a position as one.
CREATE FUNCTION event_readings(readings jsonb, signals json, observed_at timestamptz)
RETURNS TABLE (signal text, value jsonb, stated_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 5 AS $$
    SELECT r.key, r.value -> 0, (r.value ->> 1)::timestamptz FROM jsonb_each(readings) AS r
    UNION ALL
    SELECT s.key, (CASE WHEN entry.is_timed THEN s.value -> 0 ELSE s.value END)::jsonb,
           CASE WHEN entry.is_timed
               THEN observed_at + (s.value ->> 1)::bigint * interval '1 microsecond'
               ELSE observed_at END
    FROM json_each(signals) AS s
    CROSS JOIN LATERAL (
        SELECT json_typeof(s.value) = 'array'
           AND (s.key <> 'position' OR json_typeof(s.value -> 0) = 'array') AS is_timed
    ) AS entry
$$;

-- Events in one form, for people and checkers: readings as {"soc_percent": [88.5, "…time"]}, trace
-- id and resource as text. A column that is not asked for costs nothing.
CREATE VIEW readable_events AS
SELECT e.workspace_id, e.device_id, e.sequence, e.recorded_at, e.received_at,
       coalesce(e.readings, (
           SELECT jsonb_object_agg(r.signal, jsonb_build_array(r.value, r.stated_at))
           FROM event_readings(e.readings, e.signals, e.observed_at) AS r
       )) AS readings,
       e.provider_id, coalesce(e.trace_id, replace(e.trace::text, '-', '')) AS trace_id,
       e.shard_id, e.epoch,
       coalesce(e.resource,
                CASE WHEN e.token IS NOT NULL THEN 'workspace:' || e.workspace_id END) AS resource,
       e.token, e.assignment, e.reception_at,
       coalesce(e.observed_at, (
           SELECT max(r.stated_at) FROM event_readings(e.readings, e.signals, e.observed_at) AS r
       )) AS observed_at,
       e.signals, e.readings AS stored_readings
FROM events e;

-- What a device's dropped events said, up to the one with this sequence: the document and the state
-- at that moment, under the newest assignment of which an event was dropped. With the events that
-- are kept, the snapshot of any instant since can be told. The upkeep actor writes it as it drops a
-- partition. Entries of the document are those of snapshots, without the provider's reception, which
-- no event has.
CREATE TABLE event_checkpoints (
    workspace_id            text NOT NULL,
    device_id               text NOT NULL,
    assignment              integer NOT NULL,
    version                 bigint NOT NULL,
    last_update_received_at timestamptz NOT NULL,
    last_observed_at        timestamptz NOT NULL,
    last_changed_at         timestamptz,
    document                jsonb NOT NULL,
    PRIMARY KEY (workspace_id, device_id)
);

-- The scheduled collection of one workspace in one slot: one row for each attempt.
CREATE TABLE poll_cycles (
    workspace_id  text NOT NULL CONSTRAINT poll_cycles_workspace_fkey REFERENCES workspaces,
    slot_start_at timestamptz NOT NULL,
    trigger       text NOT NULL
                  CONSTRAINT poll_cycles_trigger_check
                  CHECK (trigger IN ('schedule', 'late', 'manual')),
    attempt       integer NOT NULL CONSTRAINT poll_cycles_attempt_check CHECK (attempt > 0),
    cycle_id      text NOT NULL,
    trace_id      text NOT NULL,
    shard_id      text,
    epoch         bigint,
    requested_at  timestamptz,
    started_at    timestamptz,
    ended_at      timestamptz,
    outcome       text NOT NULL CONSTRAINT poll_cycles_outcome_check
                  CHECK (outcome IN ('requested', 'running', 'completed', 'partial', 'failed',
                                     'timed_out', 'skipped', 'missed', 'abandoned')),
    summary       jsonb NOT NULL DEFAULT '{}',
    -- The devices of the workspace when it ended: active ones, those with an age within the target,
    -- those with news. Of a missed one, when its slot began. Null in rows of before version 0.2.
    active_devices  integer,
    fresh_devices   integer,
    updated_devices integer,
    PRIMARY KEY (workspace_id, slot_start_at, trigger, attempt),
    CONSTRAINT poll_cycles_cycle_id_key UNIQUE (workspace_id, cycle_id)
);
-- The few cycles that are not over: requests to start, orphans to abandon.
CREATE INDEX poll_cycles_open_index ON poll_cycles (workspace_id)
    WHERE outcome IN ('requested', 'running');
-- For retention. A block range index would not serve, although rows arrive in the order of time:
-- new rows take the room of rows that retention deleted, and then every range holds rows of every
-- age.
CREATE INDEX poll_cycles_slot_index ON poll_cycles (slot_start_at);
-- For the last good cycle of a workspace, however long ago it was.
CREATE INDEX poll_cycles_good_index ON poll_cycles (workspace_id, slot_start_at)
    WHERE outcome IN ('completed', 'partial');

-- The legacy system of a workspace, and the settings of its gate and guardrails, as they were set.
-- The flags are in workspaces. No row: no legacy system, and the default settings. Below them stands
-- what was noted since: the newest answer of the legacy system to any shard, and its newest failure.
CREATE TABLE cutovers (
    workspace_id       text PRIMARY KEY
                       CONSTRAINT cutovers_workspace_fkey REFERENCES workspaces,
    legacy_base_url    text,
    legacy_credential  text, -- a reference, never a secret
    legacy_shape       json, -- as it was given: docs/cutover.md
    gate               jsonb NOT NULL DEFAULT '{}', -- settings that differ from the default
    guardrails         jsonb NOT NULL DEFAULT '{}', -- likewise
    legacy_answered_at timestamptz,
    legacy_failed_at   timestamptz,
    legacy_fault       text,
    legacy_unfit       json, -- the newest answer, or item of one, that did not fit, with a sample
    rolled_back_at     timestamptz, -- of the newest rollback by a guardrail
    CONSTRAINT cutovers_legacy_check CHECK ((legacy_base_url IS NULL) = (legacy_shape IS NULL))
);

-- What the comparison with the legacy system found at the end of a cycle: how many devices got each
-- verdict (domain/parity.py), and at most 20 samples. Nothing was comparable if `why` says why.
CREATE TABLE parity_cycles (
    workspace_id  text NOT NULL CONSTRAINT parity_cycles_workspace_fkey REFERENCES workspaces,
    slot_start_at timestamptz NOT NULL,
    cycle_id      text NOT NULL,
    compared_at   timestamptz NOT NULL,
    equal         integer NOT NULL,
    missing_here  integer NOT NULL,
    missing_there integer NOT NULL,
    older         integer NOT NULL,
    different     integer NOT NULL,
    incomparable  integer NOT NULL,
    samples       json NOT NULL,
    why           text,
    PRIMARY KEY (workspace_id, slot_start_at, cycle_id)
);
CREATE INDEX parity_cycles_slot_index ON parity_cycles (slot_start_at); -- for retention

-- What guardrails did: each rollback, and each alert with why it did not act. Kept for ever.
CREATE TABLE guardrail_events (
    workspace_id text NOT NULL CONSTRAINT guardrail_events_workspace_fkey REFERENCES workspaces,
    event_id     bigint GENERATED ALWAYS AS IDENTITY,
    at           timestamptz NOT NULL,
    kind         text NOT NULL CONSTRAINT guardrail_events_kind_check
                 CHECK (kind IN ('rollback', 'alert')),
    cycle_id     text NOT NULL, -- after which it was judged
    crossings    jsonb NOT NULL, -- [{guardrail, measured, limit, detail}, …]
    why_not      text, -- null: it acted
    trace_id     text NOT NULL,
    PRIMARY KEY (workspace_id, event_id)
);

-- The synchronisation with a legacy registry: what the newest complete answer left out, and what was
-- done with it. One row for each workspace that was ever synchronised.
CREATE TABLE legacy_syncs (
    workspace_id     text PRIMARY KEY
                     CONSTRAINT legacy_syncs_workspace_fkey REFERENCES workspaces,
    cutover_revision bigint NOT NULL, -- of the workspace then: another one forgets left_out
    left_out         jsonb NOT NULL DEFAULT '[]', -- ids of active devices, sorted
    doubted          boolean NOT NULL DEFAULT false, -- that answer left out too many to be believed
    answered_at      timestamptz, -- of the newest answer that was applied
    synced_at        timestamptz NOT NULL, -- of the newest attempt, whatever came of it
    outcome          text NOT NULL, -- domain/legacy_sync.py
    detail           text,
    counts           jsonb NOT NULL DEFAULT '{}', -- of the newest attempt, by what was done
    held_back        jsonb NOT NULL DEFAULT '[]', -- samples: [{device_id, vehicle_id, why}, …]
    refused          jsonb NOT NULL DEFAULT '[]' -- likewise: [{device_id, external_id, field, detail}, …]
);

-- What was counted in an hour of a workspace (domain/indicators.py), once it can change no more: an
-- object of whole numbers, sorted by name. It can be made again from the facts while they are kept.
-- json, not jsonb, which would order the names in its own way.
CREATE TABLE indicator_hours (
    workspace_id text NOT NULL,
    hour         timestamptz NOT NULL, -- its first moment, in UTC
    content      json NOT NULL,
    PRIMARY KEY (workspace_id, hour)
);
CREATE INDEX indicator_hours_index ON indicator_hours (hour); -- for retention

-- Dropped cycles: how many of a workspace in a row had one outcome. A pause of more than two hours
-- ends a span.
CREATE TABLE cycle_spans (
    workspace_id    text NOT NULL,
    span_id         bigint GENERATED ALWAYS AS IDENTITY,
    outcome         text NOT NULL,
    cycles          bigint NOT NULL,
    first_slot_at   timestamptz NOT NULL,
    last_slot_at    timestamptz NOT NULL,
    last_started_at timestamptz, -- null: none of them started
    last_ended_at   timestamptz,
    PRIMARY KEY (workspace_id, span_id)
);
CREATE INDEX cycle_spans_last_index ON cycle_spans (last_slot_at); -- for retention

-- The ledger: what was refused and why. One row for each device (or external id), reason, signal and
-- origin an hour, with the first sample (at most 4 kB). Later refusals are counted up, at most once a minute
-- for each row by each shard. Rows of before version 0.2 are one for each commit.
CREATE TABLE rejections (
    workspace_id text NOT NULL, -- as the submission named it; it need not exist
    rejection_id bigint GENERATED ALWAYS AS IDENTITY,
    recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    origin       text NOT NULL,
    provider_id  text,
    device_id    text,
    external_id  text,
    outcome      text NOT NULL,
    reason       text,
    detail       text, -- of the first refusal, like trace_id and sample
    -- of readings if there is a signal; of updates or records if there is none
    occurrences  bigint NOT NULL CONSTRAINT rejections_occurrences_check CHECK (occurrences > 0),
    trace_id     text NOT NULL,
    sample       bytea CONSTRAINT rejections_sample_check CHECK (octet_length(sample) <= 4096),
    signal       text,
    hour         timestamptz, -- its first moment; null, like last_at and digest, in rows of before
    last_at      timestamptz, -- the commit of the last refusal that is counted here
    -- 16 bytes that stand for hour, origin, ids, outcome, reason and signal: the index holds ids of
    -- any length so
    digest       bytea,
    PRIMARY KEY (workspace_id, rejection_id)
);
CREATE INDEX rejections_recorded_index ON rejections (recorded_at); -- for retention
-- pages of one reason
CREATE INDEX rejections_reason_index ON rejections (workspace_id, reason, rejection_id);
CREATE UNIQUE INDEX rejections_digest_index ON rejections (workspace_id, hour, digest);
-- the refused signals of a device
CREATE INDEX rejections_device_index ON rejections (workspace_id, device_id, hour)
    WHERE signal IS NOT NULL;

-- Dropped rows of the ledger: refusals of one device (or external id), reason, signal and origin,
-- with no pause of more than two hours between the rows.
CREATE TABLE rejection_spans (
    workspace_id text NOT NULL,
    digest       bytea NOT NULL, -- 16 bytes that stand for origin, ids, outcome, reason and signal
    span_id      bigint GENERATED ALWAYS AS IDENTITY,
    origin       text NOT NULL,
    provider_id  text,
    device_id    text,
    external_id  text,
    outcome      text NOT NULL,
    reason       text,
    signal       text,
    occurrences  bigint NOT NULL,
    first_at     timestamptz NOT NULL,
    last_at      timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, digest, span_id)
);
CREATE INDEX rejection_spans_last_index ON rejection_spans (last_at); -- for retention

-- Updates that PostgreSQL refused or that a rule crashed on, for a person to inspect and replay. The
-- sample is all of the update if `is_whole`, and else at most 4 kB of it.
CREATE TABLE quarantine (
    quarantine_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    workspace_id  text NOT NULL,
    provider_id   text,
    device_id     text,
    external_id   text,
    reason        text NOT NULL,
    detail        text,
    trace_id      text NOT NULL,
    sample        bytea CONSTRAINT quarantine_sample_check CHECK (octet_length(sample) <= 65536),
    origin        text, -- of its submission; null: of an older release
    is_whole      boolean NOT NULL DEFAULT false,
    -- The replay that was accepted, or else the newest one; null: none.
    replayed_at    timestamptz,
    replayed_by    text,
    replay_outcome text,
    replay_reason  text,
    replay_detail  text
);
CREATE INDEX quarantine_workspace_index ON quarantine (workspace_id, quarantine_id);
CREATE INDEX quarantine_recorded_index ON quarantine (recorded_at); -- for retention

-- One row for each shard; epoch counts its sessions. The first statement of every unit takes this
-- row in share mode: that is the fence.
CREATE TABLE sessions (
    shard_id   text PRIMARY KEY,
    epoch      bigint NOT NULL,
    state      text NOT NULL
               CONSTRAINT sessions_state_check CHECK (state IN ('live', 'ended', 'dead')),
    last_unit  bigint NOT NULL DEFAULT 0, -- of a shard of a release before 0028; else 0
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at   timestamptz,
    boot_id    text -- of the process: identifies a session whose begin was not answered
) WITH (fillfactor = 70);

-- The last unit that each writer of a shard committed in the session of this epoch: the evidence
-- after a COMMIT without an answer. Kept apart from sessions, so that units do not wait for each other.
CREATE TABLE session_writers (
    shard_id  text CONSTRAINT session_writers_session_fkey REFERENCES sessions,
    writer    integer, -- from 0
    epoch     bigint NOT NULL,
    last_unit bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (shard_id, writer)
) WITH (fillfactor = 70);

-- Renewed every few seconds. Kept apart from sessions, so that a renewal never waits for a unit.
CREATE TABLE heartbeats (
    shard_id   text PRIMARY KEY CONSTRAINT heartbeats_session_fkey REFERENCES sessions,
    epoch      bigint NOT NULL,
    beat_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL, -- before beat_at: declared dead, never to be renewed
    statistics jsonb NOT NULL DEFAULT '{}', -- lanes, oldest waiting, parked actors, last commit
    draining   boolean NOT NULL DEFAULT false -- the shard hands over all it owns and takes no more
) WITH (fillfactor = 70);

-- Edges only: data of a shard, or of one of its workspaces, began to wait for more than 30 s to be
-- stored, or waits so no longer. Written with the heartbeat, and for a session that is over.
CREATE TABLE backlog_events (
    shard_id        text NOT NULL,
    event_id        bigint GENERATED ALWAYS AS IDENTITY,
    epoch           bigint NOT NULL,
    workspace_id    text, -- null: of the whole shard
    at              timestamptz NOT NULL,
    kind            text NOT NULL CONSTRAINT backlog_events_kind_check
                    CHECK (kind IN ('backlog_begun', 'backlog_ended')),
    waiting_seconds double precision, -- of the oldest data; null: the session is over
    PRIMARY KEY (shard_id, event_id)
);
CREATE INDEX backlog_events_at_index ON backlog_events (at); -- for retention

-- Which session owns a resource. The resource of a workspace (its cycle and its streams) is
-- 'workspace:' || workspace_id, as in events. A row is created at the first claim and never
-- deleted, so that its token keeps growing. Only acquiring and releasing write the row; a session
-- is kept alive by its heartbeat alone. A session owns nothing once its row in sessions is not live
-- or has a greater epoch, whatever its leases say.
CREATE TABLE leases (
    resource    text PRIMARY KEY
                CONSTRAINT leases_resource_check CHECK (resource LIKE 'workspace:_%'),
    shard_id    text,                      -- null, like epoch: no owner
    epoch       bigint,
    token       bigint NOT NULL DEFAULT 0, -- grows by one at each acquisition; events carry it
    acquired_at timestamptz,
    released_at timestamptz,               -- null while it is owned
    CONSTRAINT leases_owner_check CHECK ((shard_id IS NULL) = (epoch IS NULL))
) WITH (fillfactor = 70);

-- API keys: prefix_id_secret. Only the hash of the secret is kept. A key is never deleted, so its name
-- is taken for ever. created_by and revoked_by name a key, or the command line; null: not known.
CREATE TABLE keys (
    key_id       text PRIMARY KEY,
    name         text NOT NULL CONSTRAINT keys_name_key UNIQUE,
    secret_hash  bytea NOT NULL,
    scopes       text[] NOT NULL,
    workspaces   text[], -- null: all
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    created_by   text,
    revoked_by   text,
    last_used_at timestamptz -- the minute of the newest request, written within two minutes
);

-- The sign-ins of people who look at the pages: each was made with a key, and opens what the key
-- opens, until it ends or the key does. The browser's cookie has the id and a secret; only the hash
-- of the secret is here. key_id names no row for ever: a key that was replaced is gone, and its
-- sign-ins open nothing.
CREATE TABLE sign_ins (
    sign_in_id  text PRIMARY KEY,
    key_id      text NOT NULL,
    secret_hash bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz NOT NULL, -- 12 h after created_at
    ended_at    timestamptz, -- signed out
    address     text, -- of the browser that signed in
    user_agent  text
);
CREATE INDEX sign_ins_key_index ON sign_ins (key_id);

-- The key that signs page cursors: one row, created by the first shard that starts. It is random,
-- so a cursor tells nothing about any other secret. To replace the key, delete the row and restart
-- every shard.
CREATE TABLE cursor_key (
    singleton  boolean PRIMARY KEY DEFAULT true
               CONSTRAINT cursor_key_singleton_check CHECK (singleton),
    key        bytea NOT NULL CONSTRAINT cursor_key_length_check CHECK (octet_length(key) = 32),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
