"""Indexes for retention, for the newest good cycle and for rejections of one reason.

The tables stand in the order in which a unit takes them, and each one's old index goes first: DROP takes the table's
strongest lock at once. CREATE before it would let in whoever has read the table and is about to write to it, and the
two would then wait for each other.

Frozen. storage/schema.sql says what each table is for.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE INDEX connection_events_at_index ON connection_events (at)",
    "DROP INDEX poll_cycles_slot_index",
    "CREATE INDEX poll_cycles_slot_index ON poll_cycles (slot_start_at)",
    """
CREATE INDEX poll_cycles_good_index ON poll_cycles (workspace_id, slot_start_at)
    WHERE outcome IN ('completed', 'partial')
    """,
    "DROP INDEX rejections_recorded_index",
    "CREATE INDEX rejections_recorded_index ON rejections (recorded_at)",
    "CREATE INDEX rejections_reason_index ON rejections (workspace_id, reason, rejection_id)",
    "CREATE INDEX quarantine_recorded_index ON quarantine (recorded_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
