"""An index of the retired devices: counts leave out their rows of device_state without a join.

Shards of the former schema go on: the index adds nothing that they see.

Frozen. storage/schema.sql says what each index is for.
"""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
CREATE INDEX devices_retired_index ON devices (workspace_id, device_id) WHERE retired_at IS NOT NULL
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
