"""The stored facts by which health finds whose fault a silence is, and assignments.

Every new column is nullable or has a constant default, so no large table is rewritten. A device
that exists gets assignment 1, and so do all events there are.

Frozen. storage/schema.sql says what each table and column is for.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
CREATE TABLE assignments (
    workspace_id text NOT NULL,
    device_id    text NOT NULL,
    assignment   integer NOT NULL
                 CONSTRAINT assignments_assignment_check CHECK (assignment > 0),
    provider_id  text NOT NULL,
    external_id  text NOT NULL,
    vehicle_id   text NOT NULL,
    vehicle_name text NOT NULL,
    effective_at timestamptz NOT NULL,
    entered_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at     timestamptz,
    PRIMARY KEY (workspace_id, device_id, assignment),
    CONSTRAINT assignments_device_fkey
        FOREIGN KEY (workspace_id, device_id) REFERENCES devices
)
    """,
    """
CREATE INDEX assignments_external_index ON assignments (workspace_id, provider_id, external_id)
    """,
    """
INSERT INTO assignments (workspace_id, device_id, assignment, provider_id, external_id, vehicle_id,
                         vehicle_name, effective_at, entered_at, ended_at)
SELECT workspace_id, device_id, 1, provider_id, external_id, vehicle_id, vehicle_name,
       activated_at, activated_at, retired_at
FROM devices
    """,
    "ALTER TABLE devices ADD COLUMN assignment integer NOT NULL DEFAULT 1",
    "ALTER TABLE events ADD COLUMN assignment integer NOT NULL DEFAULT 1",
    """
ALTER TABLE device_state
    ADD COLUMN statement text
        CONSTRAINT device_state_statement_check CHECK (statement IN ('named', 'left_out', 'error')),
    ADD COLUMN statement_begun_at timestamptz,
    ADD COLUMN statement_at timestamptz,
    ADD COLUMN statement_detail text,
    ADD COLUMN last_outdated_at timestamptz,
    ADD COLUMN held_back_seconds double precision
    """,
    # A confirmation was an answer that named the device. When its call was begun is not known: the
    # end stands for it.
    """
UPDATE device_state
SET statement = 'named', statement_begun_at = last_confirmed_at, statement_at = last_confirmed_at
WHERE last_confirmed_at IS NOT NULL
    """,
    """
ALTER TABLE connection_state
    ADD COLUMN call_begun_at timestamptz,
    ADD COLUMN call_ended_at timestamptz,
    ADD COLUMN complete_begun_at timestamptz,
    ADD COLUMN complete_at timestamptz,
    ADD COLUMN roster_begun_at timestamptz,
    ADD COLUMN roster_at timestamptz,
    ADD COLUMN not_asked_at timestamptz,
    ADD COLUMN stream_fault text,
    ADD COLUMN stream_fault_detail text,
    ADD COLUMN stream_down_since timestamptz,
    ADD COLUMN data_at timestamptz,
    ADD COLUMN data_device_id text,
    ADD COLUMN other_data_at timestamptz,
    ADD COLUMN readable_at timestamptz,
    ADD COLUMN unreadable_at timestamptz,
    ADD COLUMN sender_at timestamptz
    """,
    """
UPDATE connection_state
SET call_ended_at = greatest(last_success_at, last_failure_at),
    call_begun_at = greatest(last_success_at, last_failure_at)
    """,
    "ALTER TABLE workspaces ADD COLUMN active_changed_at timestamptz",
    "ALTER TABLE providers ADD COLUMN active_changed_at timestamptz",
    "ALTER TABLE providers DROP CONSTRAINT providers_transport_check",
    """
ALTER TABLE providers ADD CONSTRAINT providers_transport_check
    CHECK (transport IN ('poll', 'stream', 'push'))
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
