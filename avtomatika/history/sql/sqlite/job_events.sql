SELECT
    event_id, job_id, timestamp, state, event_type, duration_ms, previous_state, next_state, worker_id,
    attempt_number, context_snapshot, task_id, blueprint, sequence
FROM job_history
WHERE job_id = ?
ORDER BY sequence
