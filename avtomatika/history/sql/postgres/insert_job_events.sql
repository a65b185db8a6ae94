-- One array for each column: one round trip, whatever the number of rows.
INSERT INTO job_history (
    event_id, job_id, timestamp, state, event_type, duration_ms, previous_state, next_state, worker_id,
    attempt_number, context_snapshot, task_id, blueprint, sequence, snapshot_json
)
SELECT
    event_id, job_id, timestamp, state, event_type, duration_ms, previous_state, next_state, worker_id,
    attempt_number, context_snapshot, task_id, blueprint, sequence, snapshot_json
FROM unnest(
    $1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::double precision[], $7::text[], $8::text[],
    $9::text[], $10::bigint[], $11::jsonb[], $12::text[], $13::text[], $14::bigint[], $15::text[]
) WITH ORDINALITY AS given (
    event_id, job_id, timestamp, state, event_type, duration_ms, previous_state, next_state, worker_id,
    attempt_number, context_snapshot, task_id, blueprint, sequence, snapshot_json, place
)
ORDER BY place
ON CONFLICT (event_id) DO NOTHING
