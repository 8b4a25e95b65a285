"""Which process began a session.

Frozen. storage/schema.sql says what each table is for.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATEMENTS = ("ALTER TABLE sessions ADD COLUMN boot_id text",)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
