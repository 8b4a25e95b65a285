-- API keys.

-- name: find_access
-- A key by its public half (the caller compares the hash of the other in constant time), and the
-- workspace that its request names. One row whatever exists, and both are looked up in any case:
-- how long it takes does not tell whether there is such a key.
SELECT k.key_id, k.name AS key_name, k.secret_hash, k.scopes, k.workspaces AS key_workspaces,
       k.expires_at, k.revoked_at, w.*
FROM (VALUES (1)) AS always
LEFT JOIN keys k ON k.key_id = $1
LEFT JOIN workspaces w ON w.workspace_id = $2;

-- name: create_key
-- Nothing is stored if the name is taken.
INSERT INTO keys (key_id, name, secret_hash, scopes, workspaces, expires_at, revoked_at, created_by)
VALUES (:key_id, :name, :secret_hash, :scopes, :workspaces, :expires_at, :revoked_at, :created_by)
ON CONFLICT (name) DO NOTHING
RETURNING key_id, name, scopes, workspaces AS key_workspaces, created_at, created_by, expires_at,
          revoked_at, revoked_by, last_used_at;

-- name: replace_key
-- The demo makes its key anew at each start; the one before it stops working.
INSERT INTO keys (key_id, name, secret_hash, scopes, workspaces, created_by)
VALUES (:key_id, :name, :secret_hash, :scopes, :workspaces, :created_by)
ON CONFLICT (name) DO UPDATE
SET key_id = excluded.key_id, secret_hash = excluded.secret_hash, scopes = excluded.scopes,
    workspaces = excluded.workspaces, created_by = excluded.created_by,
    created_at = clock_timestamp(), expires_at = NULL, revoked_at = NULL, revoked_by = NULL,
    last_used_at = NULL
RETURNING key_id, name, scopes, workspaces AS key_workspaces, created_at, created_by, expires_at,
          revoked_at, revoked_by, last_used_at;

-- name: list_keys
-- Those that are limited to some of the given workspaces only; all of them for null.
SELECT key_id, name, scopes, workspaces AS key_workspaces, created_at, created_by, expires_at,
       revoked_at, revoked_by, last_used_at
FROM keys
WHERE (:within::text[] IS NULL OR workspaces <@ :within) AND (:after::text IS NULL OR name > :after)
  AND (:with_revoked OR revoked_at IS NULL)
ORDER BY name
LIMIT :most;

-- name: find_listed_key
-- By id or by name; an id comes first.
SELECT key_id, name, scopes, workspaces AS key_workspaces, created_at, created_by, expires_at,
       revoked_at, revoked_by, last_used_at
FROM keys
WHERE key_id = $1 OR name = $1
ORDER BY key_id = $1 DESC
LIMIT 1;

-- name: revoke_key
-- A key that was revoked before keeps the instant, and who did it.
WITH before AS (SELECT revoked_at FROM keys WHERE key_id = :key_id FOR UPDATE)
UPDATE keys
SET revoked_at = coalesce(keys.revoked_at, clock_timestamp()),
    revoked_by = CASE WHEN keys.revoked_at IS NULL THEN :revoked_by ELSE keys.revoked_by END
FROM before
WHERE key_id = :key_id AND (:within::text[] IS NULL OR workspaces <@ :within)
RETURNING key_id, name, scopes, workspaces AS key_workspaces, created_at, created_by, expires_at,
          keys.revoked_at, revoked_by, last_used_at, before.revoked_at IS NOT NULL AS was_revoked;

-- name: note_key_uses
-- To the minute: so a key that is used all the time is written once a minute, whatever the number of
-- shards.
UPDATE keys SET last_used_at = used.at
FROM unnest($1::text[], $2::timestamptz[]) AS used (key_id, at)
WHERE keys.key_id = used.key_id
  AND (keys.last_used_at IS NULL OR keys.last_used_at < used.at);
