"""Ownership: leases, sessions that drain, and only those states of a session that something writes.

Frozen. storage/schema.sql says what each table is for.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
CREATE TABLE leases (
    resource    text PRIMARY KEY,
    shard_id    text,
    epoch       bigint,
    token       bigint NOT NULL DEFAULT 0,
    acquired_at timestamptz,
    released_at timestamptz,
    CONSTRAINT leases_owner_check CHECK ((shard_id IS NULL) = (epoch IS NULL))
) WITH (fillfactor = 70)
    """,
    """
ALTER TABLE heartbeats ADD COLUMN draining boolean NOT NULL DEFAULT false
    """,
    # No release ever wrote 'draining'.
    """
ALTER TABLE sessions DROP CONSTRAINT sessions_state_check,
    ADD CONSTRAINT sessions_state_check CHECK (state IN ('live', 'ended', 'dead'))
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("leases are not given up by going back")
