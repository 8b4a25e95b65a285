"""The ledger by the hour: one row for each device, reason and signal, counted up.

The new columns are null in rows that exist, so no row is rewritten. Those rows stay as they are:
one for each commit. Their digest is null, so no refusal is counted into them.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
ALTER TABLE rejections
    ADD COLUMN signal text,
    ADD COLUMN hour timestamptz,
    ADD COLUMN last_at timestamptz,
    ADD COLUMN digest bytea
    """,
    "CREATE UNIQUE INDEX rejections_digest_index ON rejections (workspace_id, hour, digest)",
    """
CREATE INDEX rejections_device_index ON rejections (workspace_id, device_id, hour)
    WHERE signal IS NOT NULL
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
