-- API keys.

-- name: find_key
-- By its public half; the caller compares the hash of the other in constant time.
SELECT key_id, name, secret_hash, scopes, workspaces, expires_at, revoked_at FROM keys WHERE key_id = $1;

-- name: create_key
-- The same key again (a demo's, made anew at each start) replaces what is stored.
INSERT INTO keys (key_id, name, secret_hash, scopes, workspaces, expires_at, revoked_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (key_id) DO UPDATE
SET name = excluded.name, secret_hash = excluded.secret_hash, scopes = excluded.scopes,
    workspaces = excluded.workspaces, expires_at = excluded.expires_at, revoked_at = excluded.revoked_at;
