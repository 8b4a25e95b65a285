"""A row for each writer of a shard, so that two units of one session may be in flight together.

Shards of the former schema go on: they fence their units with the row in sessions, which keeps its
columns. A session that is live keeps its evidence: writer 0 has its last unit.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
CREATE TABLE session_writers (
    shard_id  text CONSTRAINT session_writers_session_fkey REFERENCES sessions,
    writer    integer,
    epoch     bigint NOT NULL,
    last_unit bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (shard_id, writer)
) WITH (fillfactor = 70)
    """,
    """
INSERT INTO session_writers (shard_id, writer, epoch, last_unit)
SELECT shard_id, 0, epoch, last_unit FROM sessions
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
