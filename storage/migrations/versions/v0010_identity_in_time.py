"""Keys by which external ids are compared, and when a unit sat in another vehicle.

An rFMS connection's external ids are VINs, which are compared without regard to case; edge spaces
never count. Of active devices whose ids are the same by that rule, the one that was heard last gets
the key. The others get a key that nothing matches: they were never told apart by a right id, and
one of them is to be retired.

Frozen. storage/schema.sql says what each column is for.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE providers ADD COLUMN ids_are_vins boolean NOT NULL DEFAULT false",
    "UPDATE providers SET ids_are_vins = true WHERE provider_type = 'rfms'",
    """
ALTER TABLE devices
    ADD COLUMN ids_are_vins boolean NOT NULL DEFAULT false,
    ADD COLUMN external_key text,
    ADD COLUMN other_spans jsonb
    """,
    """
UPDATE devices AS d
SET ids_are_vins = p.ids_are_vins,
    external_key = CASE WHEN p.ids_are_vins THEN upper(btrim(d.external_id) COLLATE "C")
                        ELSE btrim(d.external_id) END
FROM providers p
WHERE p.workspace_id = d.workspace_id AND p.provider_id = d.provider_id
    """,
    """
UPDATE devices AS stored
SET external_key = stored.external_key || ' (' || stored.device_id || ')'
FROM (
    SELECT d.workspace_id, d.device_id,
           row_number() OVER (
               PARTITION BY d.workspace_id, d.provider_id, d.external_key
               ORDER BY s.last_update_received_at DESC NULLS LAST, d.device_id
           ) AS place
    FROM devices d JOIN device_state s USING (workspace_id, device_id)
    WHERE d.retired_at IS NULL
) AS ranked
WHERE stored.workspace_id = ranked.workspace_id AND stored.device_id = ranked.device_id
  AND ranked.place > 1
    """,
    # A unit that was in another vehicle before: everything until it was activated here is of that
    # vehicle.
    """
UPDATE devices AS stored
SET other_spans = jsonb_build_array(jsonb_build_array(
    '0001-01-01T00:00:00Z',
    to_char(greatest(stored.activated_at, former.until) AT TIME ZONE 'UTC',
            'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
))
FROM (
    SELECT here.workspace_id, here.device_id, max(o.retired_at) AS until
    FROM devices here
    JOIN devices o USING (workspace_id, provider_id, external_key)
    WHERE here.retired_at IS NULL AND o.retired_at IS NOT NULL AND o.vehicle_id <> here.vehicle_id
    GROUP BY here.workspace_id, here.device_id
) AS former
WHERE stored.workspace_id = former.workspace_id AND stored.device_id = former.device_id
    """,
    "ALTER TABLE devices ALTER COLUMN external_key SET NOT NULL",
    "DROP INDEX devices_external_key",
    """
CREATE UNIQUE INDEX devices_external_key ON devices (workspace_id, provider_id, external_key)
    WHERE retired_at IS NULL
    """,
    "ALTER TABLE assignments ADD COLUMN external_key text",
    """
UPDATE assignments a SET external_key = d.external_key
FROM devices d WHERE d.workspace_id = a.workspace_id AND d.device_id = a.device_id
    """,
    "ALTER TABLE assignments ALTER COLUMN external_key SET NOT NULL",
    "DROP INDEX assignments_external_index",
    """
CREATE INDEX assignments_external_index ON assignments (workspace_id, provider_id, external_key)
    """,
    """
ALTER TABLE device_state
    ADD COLUMN assignment integer NOT NULL DEFAULT 1,
    ADD COLUMN entered_at timestamptz
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
