"""A table for the sign-ins of people who look at the pages with a key.

Shards of the former schema go on: they have no pages, and do not read the table.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
CREATE TABLE sign_ins (
    sign_in_id  text PRIMARY KEY,
    key_id      text NOT NULL,
    secret_hash bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    address     text,
    user_agent  text
)
    """,
    """
CREATE INDEX sign_ins_key_index ON sign_ins (key_id)
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
