"""Quarantine keeps updates whole, so that they can be replayed, and marks them when they were.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
ALTER TABLE quarantine
    ADD COLUMN origin text,
    ADD COLUMN is_whole boolean NOT NULL DEFAULT false,
    ADD COLUMN replayed_at timestamptz,
    ADD COLUMN replayed_by text,
    ADD COLUMN replay_outcome text,
    ADD COLUMN replay_reason text,
    ADD COLUMN replay_detail text,
    DROP CONSTRAINT quarantine_sample_check,
    ADD CONSTRAINT quarantine_sample_check CHECK (octet_length(sample) <= 65536)
    """,
    "CREATE INDEX quarantine_workspace_index ON quarantine (workspace_id, quarantine_id)",
    """
ALTER TABLE changes
    DROP CONSTRAINT changes_kind_check,
    ADD CONSTRAINT changes_kind_check
        CHECK (kind IN ('workspace', 'policy', 'provider', 'device', 'import', 'key', 'cycle',
                        'replay'))
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
