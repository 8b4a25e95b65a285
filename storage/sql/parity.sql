-- Comparisons of core with legacy systems, one row a cycle.

-- name: load_parity_counts
-- What the newest cycles of a workspace found, newest first.
SELECT equal, missing_here, missing_there, older, different, incomparable, why
FROM parity_cycles WHERE workspace_id = $1
ORDER BY slot_start_at DESC, cycle_id DESC
LIMIT $2;
