"""Where a connection's expected period came from, and connections to a simulator.

Every period that is stored was stated by a person: false is right for all of them.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
ALTER TABLE providers
    ADD COLUMN period_is_documented boolean NOT NULL DEFAULT false,
    ADD COLUMN simulated boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT providers_documented_check
        CHECK (NOT period_is_documented OR expected_update_seconds IS NOT NULL)
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
