"""What outlives dropped rows: checkpoints of devices, spans of cycles and of refusals.

last_confirmed_at goes: since 0008 the columns of the newest statement say what it said.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE device_state DROP COLUMN last_confirmed_at",
    """
CREATE TABLE event_checkpoints (
    workspace_id            text NOT NULL,
    device_id               text NOT NULL,
    assignment              integer NOT NULL,
    version                 bigint NOT NULL,
    last_update_received_at timestamptz NOT NULL,
    last_observed_at        timestamptz NOT NULL,
    last_changed_at         timestamptz,
    document                jsonb NOT NULL,
    PRIMARY KEY (workspace_id, device_id)
)
    """,
    """
CREATE TABLE cycle_spans (
    workspace_id    text NOT NULL,
    span_id         bigint GENERATED ALWAYS AS IDENTITY,
    outcome         text NOT NULL,
    cycles          bigint NOT NULL,
    first_slot_at   timestamptz NOT NULL,
    last_slot_at    timestamptz NOT NULL,
    last_started_at timestamptz,
    last_ended_at   timestamptz,
    PRIMARY KEY (workspace_id, span_id)
)
    """,
    "CREATE INDEX cycle_spans_last_index ON cycle_spans (last_slot_at)",
    """
CREATE TABLE rejection_spans (
    workspace_id text NOT NULL,
    digest       bytea NOT NULL,
    span_id      bigint GENERATED ALWAYS AS IDENTITY,
    origin       text NOT NULL,
    provider_id  text,
    device_id    text,
    external_id  text,
    outcome      text NOT NULL,
    reason       text,
    signal       text,
    occurrences  bigint NOT NULL,
    first_at     timestamptz NOT NULL,
    last_at      timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, digest, span_id)
)
    """,
    "CREATE INDEX rejection_spans_last_index ON rejection_spans (last_at)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
