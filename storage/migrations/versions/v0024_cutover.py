"""Workspaces have cutover flags; tables keep their legacy systems, parity, guardrails and syncs.

Shards of the former schema go on, and see every workspace as ours, which it is until its flags are
changed.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
ALTER TABLE workspaces
    ADD COLUMN device_registry_source text NOT NULL DEFAULT 'core'
        CONSTRAINT workspaces_registry_source_check
        CHECK (device_registry_source IN ('legacy_sync', 'core')),
    ADD COLUMN poll_owner text NOT NULL DEFAULT 'core'
        CONSTRAINT workspaces_poll_owner_check
        CHECK (poll_owner IN ('legacy', 'both_shadow', 'core')),
    ADD COLUMN read_owner text NOT NULL DEFAULT 'core'
        CONSTRAINT workspaces_read_owner_check
        CHECK (read_owner IN ('legacy', 'core')),
    ADD COLUMN provider_mode text NOT NULL DEFAULT 'legacy_provider'
        CONSTRAINT workspaces_provider_mode_check
        CHECK (provider_mode IN ('legacy_provider', 'depot_sim', 'mixed')),
    ADD COLUMN cutover_revision bigint NOT NULL DEFAULT 1,
    ADD COLUMN asking_changed_at timestamptz,
    ADD CONSTRAINT workspaces_cutover_check CHECK (read_owner <> 'core' OR poll_owner <> 'legacy')
    """,
    # Their simulated connections were asked until now, and shall be.
    """
UPDATE workspaces w SET provider_mode = 'mixed'
WHERE EXISTS (SELECT FROM providers p WHERE p.workspace_id = w.workspace_id AND p.simulated)
    """,
    """
ALTER TABLE changes
    DROP CONSTRAINT changes_kind_check,
    ADD CONSTRAINT changes_kind_check
        CHECK (kind IN ('workspace', 'policy', 'provider', 'device', 'import', 'key', 'cycle',
                        'replay', 'cutover', 'sync'))
    """,
    """
CREATE TABLE cutovers (
    workspace_id       text PRIMARY KEY
                       CONSTRAINT cutovers_workspace_fkey REFERENCES workspaces,
    legacy_base_url    text,
    legacy_credential  text,
    legacy_shape       json,
    gate               jsonb NOT NULL DEFAULT '{}',
    guardrails         jsonb NOT NULL DEFAULT '{}',
    legacy_answered_at timestamptz,
    legacy_failed_at   timestamptz,
    legacy_fault       text,
    legacy_unfit       json,
    rolled_back_at     timestamptz,
    CONSTRAINT cutovers_legacy_check CHECK ((legacy_base_url IS NULL) = (legacy_shape IS NULL))
)
    """,
    """
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
)
    """,
    """
CREATE INDEX parity_cycles_slot_index ON parity_cycles (slot_start_at)
    """,
    """
CREATE TABLE guardrail_events (
    workspace_id text NOT NULL CONSTRAINT guardrail_events_workspace_fkey REFERENCES workspaces,
    event_id     bigint GENERATED ALWAYS AS IDENTITY,
    at           timestamptz NOT NULL,
    kind         text NOT NULL CONSTRAINT guardrail_events_kind_check
                 CHECK (kind IN ('rollback', 'alert')),
    cycle_id     text NOT NULL,
    crossings    jsonb NOT NULL,
    why_not      text,
    trace_id     text NOT NULL,
    PRIMARY KEY (workspace_id, event_id)
)
    """,
    """
CREATE TABLE legacy_syncs (
    workspace_id     text PRIMARY KEY
                     CONSTRAINT legacy_syncs_workspace_fkey REFERENCES workspaces,
    cutover_revision bigint NOT NULL,
    left_out         jsonb NOT NULL DEFAULT '[]',
    doubted          boolean NOT NULL DEFAULT false,
    answered_at      timestamptz,
    synced_at        timestamptz NOT NULL,
    outcome          text NOT NULL,
    detail           text,
    counts           jsonb NOT NULL DEFAULT '{}',
    held_back        jsonb NOT NULL DEFAULT '[]',
    refused          jsonb NOT NULL DEFAULT '[]'
)
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
