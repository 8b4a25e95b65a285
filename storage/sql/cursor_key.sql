-- The key that signs page cursors.

-- name: make_cursor_key
-- The server makes the key, so that the key never appears in a statement that the server may log.
-- Three random UUIDs hold 366 random bits; their hash keeps 256. If two shards start at once, the
-- second waits for the first and adds nothing.
INSERT INTO cursor_key (key)
SELECT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
              || uuid_send(gen_random_uuid()))
ON CONFLICT (singleton) DO NOTHING;

-- name: load_cursor_key
-- A statement of its own: only a later snapshot sees a key that another shard has just created.
SELECT key FROM cursor_key;
