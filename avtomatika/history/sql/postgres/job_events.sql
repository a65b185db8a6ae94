SELECT
    event_id, job_id, to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), state, event_type,
    duration_ms, previous_state, next_state, worker_id, attempt_number,
    coalesce(snapshot_json, context_snapshot::text), task_id, blueprint, sequence
FROM job_history
WHERE job_id = $1
ORDER BY sequence
