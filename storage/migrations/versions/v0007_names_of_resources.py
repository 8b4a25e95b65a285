"""Leases name a workspace as events do: `workspace:harbour` instead of `harbour`.

Stop every shard before this migration and start the new release after it. A shard of an older
release joins leases by workspace_id and finds none of its own here. It stops its cycles and streams
in its next round, and the check refuses the rows that it then tries to make: it owns nothing.

Frozen. storage/schema.sql says what each table is for.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STATEMENTS = (
    # Without the key, because the workspaces `a` and `workspace:a` may both have leases, and the
    # new name of the first is the old name of the second.
    "ALTER TABLE leases DROP CONSTRAINT leases_pkey",
    "UPDATE leases SET resource = 'workspace:' || resource",
    """
ALTER TABLE leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (resource),
    ADD CONSTRAINT leases_resource_check CHECK (resource LIKE 'workspace:_%')
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
