"""Checkpoints of devices, which outlive the events that they were made from.

last_confirmed_at goes: since 0008 the columns of the newest statement say what it said.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE device_state DROP COLUMN last_confirmed_at",
    """
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
)
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
