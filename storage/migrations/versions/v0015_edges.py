"""Edges of connections beside calls and sockets, edges of backlogs; repeats of what was refused.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE connection_events DROP CONSTRAINT connection_events_kind_check",
    """
ALTER TABLE connection_events ADD CONSTRAINT connection_events_kind_check
    CHECK (kind IN ('call_succeeded', 'call_failed',
                    'stream_opened', 'stream_closed', 'stream_steady',
                    'cycle_asked', 'cycle_not_asked', 'answer_complete', 'answer_incomplete',
                    'data_readable', 'data_unreadable', 'roster_answered', 'sender_returned'))
    """,
    """
CREATE TABLE backlog_events (
    shard_id        text NOT NULL,
    event_id        bigint GENERATED ALWAYS AS IDENTITY,
    epoch           bigint NOT NULL,
    workspace_id    text,
    at              timestamptz NOT NULL,
    kind            text NOT NULL CONSTRAINT backlog_events_kind_check
                    CHECK (kind IN ('backlog_begun', 'backlog_ended')),
    waiting_seconds double precision,
    PRIMARY KEY (shard_id, event_id)
)
    """,
    "CREATE INDEX backlog_events_at_index ON backlog_events (at)",
    "ALTER TABLE device_state ADD COLUMN unaccepted_reception_at timestamptz",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
