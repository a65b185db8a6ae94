INSERT INTO worker_history (event_id, worker_id, timestamp, event_type, worker_info_snapshot)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT (event_id) DO NOTHING
