"""Revisions of what is configured, and when it was archived.

A workspace, its policy, a connection and a device each count their changes: ETags are made from
that. The policy becomes a subject of its own in the history of changes: what is in the entries of
workspaces about it is written once more as entries of policies, with the same time and author.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
ALTER TABLE workspaces
    ADD COLUMN revision bigint NOT NULL DEFAULT 1,
    ADD COLUMN policy_revision bigint NOT NULL DEFAULT 1,
    ADD COLUMN archived_at timestamptz,
    ADD CONSTRAINT workspaces_archived_check CHECK (archived_at IS NULL OR NOT active)
    """,
    """
ALTER TABLE providers
    ADD COLUMN revision bigint NOT NULL DEFAULT 1,
    ADD COLUMN archived_at timestamptz,
    ADD CONSTRAINT providers_archived_check CHECK (archived_at IS NULL OR NOT active)
    """,
    "ALTER TABLE devices ADD COLUMN revision bigint NOT NULL DEFAULT 1",
    "ALTER TABLE changes DROP CONSTRAINT changes_kind_check",
    """
ALTER TABLE changes ADD CONSTRAINT changes_kind_check
    CHECK (kind IN ('workspace', 'policy', 'provider', 'device'))
    """,
    """
INSERT INTO changes (workspace_id, kind, subject, at, who, before, after, trace_id)
SELECT workspace_id, 'policy', subject, at, who,
       (before -> 'thresholds')
           || jsonb_build_object('poll_interval_seconds', before -> 'poll_interval_seconds'),
       (after -> 'thresholds')
           || jsonb_build_object('poll_interval_seconds', after -> 'poll_interval_seconds'),
       trace_id
FROM changes
WHERE kind = 'workspace'
  AND (before IS NULL OR before -> 'thresholds' <> after -> 'thresholds'
       OR before -> 'poll_interval_seconds' <> after -> 'poll_interval_seconds')
ORDER BY workspace_id, change_id
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
