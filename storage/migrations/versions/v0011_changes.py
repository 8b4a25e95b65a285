"""The history of what people changed: one append-only table.

Everything that is configured gets one entry, of the time of this migration: what it was before is
not known. The forms of the documents are those of domain/changes.py.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
CREATE TABLE changes (
    workspace_id text NOT NULL,
    change_id    bigint GENERATED ALWAYS AS IDENTITY,
    kind         text NOT NULL CONSTRAINT changes_kind_check
                 CHECK (kind IN ('workspace', 'provider', 'device')),
    subject      text NOT NULL,
    at           timestamptz NOT NULL,
    who          text NOT NULL,
    before       jsonb,
    after        jsonb NOT NULL,
    trace_id     text,
    PRIMARY KEY (workspace_id, change_id)
)
    """,
    """
CREATE INDEX changes_subject_index ON changes (workspace_id, kind, subject, at DESC, change_id DESC)
    """,
    """
INSERT INTO changes (workspace_id, kind, subject, at, who, after)
SELECT workspace_id, 'workspace', workspace_id, now(), 'upgrade', jsonb_build_object(
    'name', name, 'active', active, 'poll_interval_seconds', poll_interval_seconds,
    'thresholds', jsonb_build_object(
        'freshness_target_seconds', freshness_target_seconds,
        'delayed_after_seconds', delayed_after_seconds,
        'stale_after_seconds', stale_after_seconds, 'grace_seconds', grace_seconds))
FROM workspaces ORDER BY workspace_id
    """,
    """
INSERT INTO changes (workspace_id, kind, subject, at, who, after)
SELECT workspace_id, 'provider', provider_id, now(), 'upgrade', jsonb_build_object(
    'provider_type', provider_type, 'transport', transport, 'base_url', base_url,
    'credential', credential, 'settings', settings, 'active', active,
    'expected_update_seconds', expected_update_seconds,
    'overrides', jsonb_build_object(
        'delayed_after_seconds', delayed_after_seconds,
        'stale_after_seconds', stale_after_seconds, 'grace_seconds', grace_seconds))
FROM providers ORDER BY workspace_id, provider_id
    """,
    """
INSERT INTO changes (workspace_id, kind, subject, at, who, after)
SELECT workspace_id, 'device', device_id, now(), 'upgrade', jsonb_build_object(
    'provider_id', provider_id, 'external_id', external_id, 'vehicle_id', vehicle_id,
    'vehicle_name', vehicle_name, 'assignment', assignment,
    'activated_at',
        to_char(activated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'retired_at', to_char(retired_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'overrides', jsonb_build_object(
        'delayed_after_seconds', delayed_after_seconds,
        'stale_after_seconds', stale_after_seconds, 'grace_seconds', grace_seconds))
FROM devices ORDER BY workspace_id, device_id
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
