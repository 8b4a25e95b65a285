"""Edges of devices: what a provider says about them, refusals and outdated data begun and ended.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
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
)
    """,
    "CREATE INDEX device_events_at_index ON device_events (at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
