"""The history of changes as an audit: from where, keys and runs too, and imports as one entry.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
ALTER TABLE changes
    ADD COLUMN address text,
    ADD COLUMN part_of bigint,
    DROP CONSTRAINT changes_pkey,
    ADD PRIMARY KEY (change_id),
    ALTER COLUMN workspace_id DROP NOT NULL,
    DROP CONSTRAINT changes_kind_check,
    ADD CONSTRAINT changes_kind_check
        CHECK (kind IN ('workspace', 'policy', 'provider', 'device', 'import', 'key', 'cycle')),
    ADD CONSTRAINT changes_workspace_check CHECK ((workspace_id IS NULL) = (kind = 'key'))
    """,
    """
CREATE INDEX changes_workspace_index ON changes (workspace_id, change_id) WHERE part_of IS NULL
    """,
    """
CREATE INDEX changes_part_index ON changes (part_of, change_id) WHERE part_of IS NOT NULL
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
