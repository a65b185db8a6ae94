INSERT INTO job_history (
    event_id, job_id, timestamp, state, event_type, duration_ms, previous_state, next_state, worker_id,
    attempt_number, context_snapshot, task_id, blueprint, sequence
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (event_id) DO NOTHING
