"""Names of keys are unique; when a key was last used, who made it and who revoked it.

Of keys with one name, the newest that is not revoked keeps it. The others get their id behind the
name. That is done again until no name is there twice, because a name may already end so.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
ALTER TABLE keys
    ADD COLUMN created_by text,
    ADD COLUMN revoked_by text,
    ADD COLUMN last_used_at timestamptz
    """,
    """
DO $$
DECLARE renamed integer;
BEGIN
    LOOP
        UPDATE keys SET name = keys.name || ' ' || keys.key_id
        FROM (
            SELECT key_id, row_number() OVER (
                PARTITION BY name ORDER BY revoked_at IS NOT NULL, created_at DESC, key_id
            ) AS place
            FROM keys
        ) AS ranked
        WHERE ranked.key_id = keys.key_id AND ranked.place > 1;
        GET DIAGNOSTICS renamed = ROW_COUNT;
        EXIT WHEN renamed = 0;
    END LOOP;
END $$
    """,
    "ALTER TABLE keys ADD CONSTRAINT keys_name_key UNIQUE (name)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
