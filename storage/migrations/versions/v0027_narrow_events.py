"""Columns for events in half the bytes, and a view that reads both forms.

Rewrites no event: rows of before keep `readings`, and new ones have `signals` instead. Each
statement changes the catalogue only. Shards of the former schema go on to write in the form of
before; they cannot read rows of the new form.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE events ALTER COLUMN readings DROP NOT NULL",
    "ALTER TABLE events ALTER COLUMN trace_id DROP NOT NULL",
    "ALTER TABLE events ADD COLUMN observed_at timestamptz",
    "ALTER TABLE events ADD COLUMN trace uuid",
    "ALTER TABLE events ADD COLUMN signals json",
    """
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
$$
    """,
    """
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
FROM events e
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
