"""Workspaces may have an explicit offset, at which their starts are in each interval.

Shards of the former schema go on: they start such a workspace where its ordinal says. Null, the
default, means that for all shards.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
ALTER TABLE workspaces
    ADD COLUMN start_offset_seconds integer,
    ADD CONSTRAINT workspaces_start_offset_check
        CHECK (0 <= start_offset_seconds AND start_offset_seconds < poll_interval_seconds)
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
