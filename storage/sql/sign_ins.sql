-- Sign-ins of people who look at the pages.

-- name: create_sign_in
-- created_at is the database's own time, so it can be compared with that of every other shard.
INSERT INTO sign_ins (sign_in_id, key_id, secret_hash, expires_at, address, user_agent)
VALUES (:sign_in_id, :key_id, :secret_hash, :expires_at, :address, :user_agent);

-- name: end_oldest_sign_ins
-- Those beyond the newest $2 of a key, so that a program that signs in over and over fills nothing.
UPDATE sign_ins SET ended_at = clock_timestamp()
WHERE sign_in_id IN (
    SELECT sign_in_id FROM sign_ins
    WHERE key_id = $1 AND ended_at IS NULL
    ORDER BY created_at DESC, sign_in_id
    OFFSET $2
);

-- name: find_sign_in
-- One row whatever exists, as in find_access.
SELECT s.sign_in_id, s.key_id AS key_of_sign_in, s.secret_hash AS sign_in_hash,
       s.expires_at AS sign_in_expires_at, s.ended_at, s.address, s.user_agent,
       k.key_id, k.name AS key_name, k.secret_hash, k.scopes, k.workspaces AS key_workspaces,
       k.expires_at, k.revoked_at
FROM (VALUES (1)) AS always
LEFT JOIN sign_ins s ON s.sign_in_id = $1
LEFT JOIN keys k ON k.key_id = s.key_id;

-- name: list_sign_ins
-- Those that open something now, as far as they alone say: the key is the caller's, which works.
SELECT sign_in_id, created_at, expires_at, address, user_agent
FROM sign_ins
WHERE key_id = $1 AND ended_at IS NULL AND expires_at > $2
ORDER BY created_at DESC, sign_in_id
LIMIT $3;

-- name: end_sign_in
-- Within the key, so that a guessed id ends nothing of another.
UPDATE sign_ins SET ended_at = clock_timestamp()
WHERE key_id = $1 AND sign_in_id = $2 AND ended_at IS NULL
RETURNING sign_in_id;

-- name: end_sign_ins
-- Also those whose time is over: they are few, and ending them changes nothing.
UPDATE sign_ins SET ended_at = clock_timestamp()
WHERE key_id = $1 AND ended_at IS NULL
RETURNING sign_in_id;
