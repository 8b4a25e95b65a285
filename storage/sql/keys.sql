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
-- The same key again (a demo's, made anew at each start) replaces what is stored.
INSERT INTO keys (key_id, name, secret_hash, scopes, workspaces, expires_at, revoked_at)
VALUES (:key_id, :name, :secret_hash, :scopes, :workspaces, :expires_at, :revoked_at)
ON CONFLICT (key_id) DO UPDATE
SET name = excluded.name, secret_hash = excluded.secret_hash, scopes = excluded.scopes,
    workspaces = excluded.workspaces, expires_at = excluded.expires_at,
    revoked_at = excluded.revoked_at;
