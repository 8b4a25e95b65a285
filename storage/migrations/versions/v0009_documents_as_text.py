"""Documents of snapshots as json: the text that the ingest unit wrote, not parsed by the server.

A document keeps more times for each value now. As jsonb that costs PostgreSQL four times as much
for each update as text does, and is moved out of line. The table is rewritten under an exclusive
lock: one row for each device, 4 s for 100,000 of them on a busy machine. Documents keep their
content; the code reads their old form too, and the next update of each device writes the new one.

Frozen. storage/schema.sql says what each table and column is for.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
ALTER TABLE snapshots
    ALTER COLUMN document DROP DEFAULT,
    ALTER COLUMN document TYPE json USING document::text::json,
    ALTER COLUMN document SET DEFAULT '{}'
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
