-- The history of what people changed: appended by the registry's commands, never updated.

-- name: append_changes
-- One instant for all entries of a command. The command has locked its workspace's row, so entries
-- of a workspace are written in the order of their times.
INSERT INTO changes (workspace_id, kind, subject, at, who, before, after, trace_id)
SELECT :workspace_id, i.kind, i.subject, statement_timestamp(), :who, i.before, i.after, :trace_id
FROM unnest(:kind::text[], :subject::text[], :before::jsonb[], :after::jsonb[])
    AS i (kind, subject, before, after);

-- name: find_changes_as_of
-- The index has the newest entry of each subject first.
SELECT DISTINCT ON (subject) change_id, kind, subject, at, who, before, after, trace_id
FROM changes
WHERE workspace_id = $1 AND kind = $2 AND at <= $3
ORDER BY subject, at DESC, change_id DESC;
