INSERT INTO worker_history (event_id, worker_id, timestamp, event_type, worker_info_snapshot, snapshot_json)
SELECT event_id, worker_id, timestamp, event_type, worker_info_snapshot, snapshot_json
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::jsonb[], $6::text[])
    WITH ORDINALITY AS given (event_id, worker_id, timestamp, event_type, worker_info_snapshot, snapshot_json, place)
ORDER BY place
ON CONFLICT (event_id) DO NOTHING
