-- The configuration that the actors of workspaces load: of many workspaces in one statement for each
-- kind of row. A shard calls them in one transaction.

-- name: count_fleets
-- How many active devices each workspace has, so that a shard can load a bounded number at once.
SELECT k.workspace_id, n.devices
FROM unnest($1::text[]) AS k (workspace_id)
CROSS JOIN LATERAL (
    SELECT count(*) AS devices FROM devices d
    WHERE d.workspace_id = k.workspace_id AND d.retired_at IS NULL
) AS n;

-- name: load_fleet_workspaces
-- Without an order: the caller finds each by its id.
SELECT * FROM workspaces WHERE workspace_id = ANY ($1::text[]);

-- name: load_fleet_connections
-- Those in use, with where each one's next run begins, and when its newest roster answer was asked
-- for.
SELECT p.*, c.cursor, c.roster_begun_at
FROM providers p LEFT JOIN connection_state c USING (workspace_id, provider_id)
WHERE p.workspace_id = ANY ($1::text[]) AND p.archived_at IS NULL
ORDER BY p.workspace_id, p.provider_id;

-- name: load_fleet_devices
-- In the order of the primary key, so that the devices of a workspace come together.
SELECT * FROM devices WHERE workspace_id = ANY ($1::text[]) AND retired_at IS NULL
ORDER BY workspace_id, device_id;
