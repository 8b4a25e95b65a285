"""The key that signs page cursors.

storage/schema.sql says what each table is for.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    CREATE TABLE cursor_key (
        singleton  boolean PRIMARY KEY DEFAULT true
                   CONSTRAINT cursor_key_singleton_check CHECK (singleton),
        key        bytea NOT NULL CONSTRAINT cursor_key_length_check CHECK (octet_length(key) = 32),
        created_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
