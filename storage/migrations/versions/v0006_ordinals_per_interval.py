"""One series of ordinals for each interval, held by active workspaces only, and since when.

Active workspaces keep their order within their interval and are numbered again from 0, so that each
series holds its lowest ordinals. Their phases change with this release in any case.

Frozen. storage/schema.sql says what each table is for.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE workspaces DROP CONSTRAINT workspaces_ordinal_key",
    "ALTER TABLE workspaces ALTER COLUMN ordinal DROP NOT NULL",
    "ALTER TABLE workspaces ADD COLUMN scheduled_since timestamptz",
    # Raise config_version: a shard that goes on running must notice the new ordinals.
    """
UPDATE workspaces w
SET ordinal = numbered.ordinal, config_version = config_version + 1,
    scheduled_since = CASE WHEN numbered.ordinal IS NOT NULL THEN clock_timestamp() END
FROM (
    SELECT w.workspace_id, series.ordinal
    FROM workspaces w LEFT JOIN (
        SELECT workspace_id,
               row_number() OVER (PARTITION BY poll_interval_seconds ORDER BY ordinal) - 1
                   AS ordinal
        FROM workspaces WHERE active
    ) AS series USING (workspace_id)
) AS numbered
WHERE w.workspace_id = numbered.workspace_id
    """,
    """
ALTER TABLE workspaces
    ADD CONSTRAINT workspaces_ordinal_key UNIQUE (poll_interval_seconds, ordinal),
    ADD CONSTRAINT workspaces_scheduled_check
        CHECK ((ordinal IS NOT NULL) = active AND (scheduled_since IS NOT NULL) = active)
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
