"""The time zone of a workspace, and the tags of a device.

What exists has neither: it is shown in UTC, and has no tags.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE workspaces ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC'",
    """
ALTER TABLE devices
    ADD COLUMN tags jsonb NOT NULL DEFAULT '[]'
        CONSTRAINT devices_tags_check CHECK (jsonb_typeof(tags) = 'array')
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
