-- Comparisons of core with legacy systems, one row a cycle.

-- name: list_core_views
-- What core shows of every active device. One row a device, in key order.
SELECT d.*, s.last_update_received_at, n.document, c.stream_down_since
FROM devices d
JOIN device_state s USING (workspace_id, device_id)
JOIN snapshots n USING (workspace_id, device_id)
LEFT JOIN connection_state c
    ON c.workspace_id = d.workspace_id AND c.provider_id = d.provider_id
WHERE d.workspace_id = $1 AND d.retired_at IS NULL
ORDER BY d.device_id;

-- name: record_parity
-- A comparison that was recorded already stays: the caller may not have had the answer.
INSERT INTO parity_cycles (workspace_id, slot_start_at, cycle_id, compared_at, equal, missing_here,
                           missing_there, older, different, incomparable, samples, why)
VALUES (:workspace_id, :slot_start_at, :cycle_id, :compared_at, :equal, :missing_here,
        :missing_there, :older, :different, :incomparable, :samples, :why)
ON CONFLICT DO NOTHING;

-- name: list_parity
-- Newest first, before a slot: one row a slot, of its newest cycle.
SELECT DISTINCT ON (slot_start_at)
       slot_start_at, cycle_id, compared_at, equal, missing_here, missing_there, older, different,
       incomparable, samples, why
FROM parity_cycles
WHERE workspace_id = $1 AND ($2::timestamptz IS NULL OR slot_start_at < $2)
ORDER BY slot_start_at DESC, compared_at DESC
LIMIT $3;
