"""Cycles keep how many devices were fresh, events the provider's reception, hours their counts.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
ALTER TABLE poll_cycles
    ADD COLUMN active_devices integer,
    ADD COLUMN fresh_devices integer,
    ADD COLUMN updated_devices integer
    """,
    "ALTER TABLE events ADD COLUMN reception_at timestamptz",
    """
CREATE TABLE indicator_hours (
    workspace_id text NOT NULL,
    hour timestamptz NOT NULL,
    content json NOT NULL,
    PRIMARY KEY (workspace_id, hour)
)
    """,
    "CREATE INDEX indicator_hours_index ON indicator_hours (hour)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
