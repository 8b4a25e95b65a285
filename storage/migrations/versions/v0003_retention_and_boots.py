"""Retention for the edges of connections and for quarantine: small block range indexes that find the old rows.
And which process began a session.

Frozen. storage/schema.sql says what each table is for.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = (
    "CREATE INDEX connection_events_at_index ON connection_events USING brin (at)",
    "CREATE INDEX quarantine_recorded_index ON quarantine USING brin (recorded_at)",
    "ALTER TABLE sessions ADD COLUMN boot_id text",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
