-- The history of what people changed: appended by the registry's commands, never updated.

-- name: append_changes
-- One instant for all entries of a command. The command has locked its workspace's row, so entries
-- of a workspace are written in the order of their times.
INSERT INTO changes (workspace_id, kind, subject, at, who, before, after, trace_id, address, part_of)
SELECT :workspace_id, i.kind, i.subject, statement_timestamp(), :who, i.before, i.after, :trace_id,
       :address, :part_of
FROM unnest(:kind::text[], :subject::text[], :before::jsonb[], :after::jsonb[])
    AS i (kind, subject, before, after);

-- name: append_whole
-- The entry that stands for a whole import or sync. Those of its devices are part of it.
INSERT INTO changes (workspace_id, kind, subject, at, who, after, trace_id, address)
VALUES (:workspace_id, :kind, :subject, statement_timestamp(), :who, :after, :trace_id, :address)
RETURNING change_id;

-- name: list_changes
-- Newest first. Of an import or sync only the entry that stands for it, or else the parts of one.
-- Keys have no workspace: whoever is limited to workspaces sees the keys that are limited to some
-- of these. With one workspace and no keys the index has the entries in their order: a quiet
-- workspace must not read the history of all.
SELECT c.*, k.name AS key_name
FROM changes c
LEFT JOIN keys k ON k.key_id = c.who
WHERE (:within::text[] IS NULL OR workspace_id = ANY (:within)
       OR workspace_id IS NULL AND after -> 'workspaces' <@ to_jsonb(:within::text[]))
  AND (:workspace_id::text IS NULL OR workspace_id = :workspace_id)
  AND (:with_keys OR kind <> 'key')
  AND (:kind::text IS NULL OR kind = :kind)
  AND (:subject::text IS NULL OR subject = :subject)
  AND (:who::text IS NULL OR who = :who)
  AND (:since::timestamptz IS NULL OR at >= :since)
  AND (:until::timestamptz IS NULL OR at < :until)
  AND (:part_of::bigint IS NULL AND part_of IS NULL OR part_of = :part_of)
  AND (:before::bigint IS NULL OR change_id < :before)
ORDER BY change_id DESC
LIMIT :most;

-- name: find_changes_as_of
-- The index has the newest entry of each subject first.
SELECT DISTINCT ON (subject) change_id, workspace_id, kind, subject, at, who, before, after, trace_id,
       address, part_of
FROM changes
WHERE workspace_id = $1 AND kind = $2 AND at <= $3
ORDER BY subject, at DESC, change_id DESC;
