-- Positions have gaps, so the row to begin with is found by counting; the last line spares the counting while there
-- cannot be that many rows.
DELETE FROM job_history
WHERE position <= (SELECT position FROM job_history ORDER BY position DESC OFFSET $1::bigint LIMIT 1)
AND (SELECT max(position) - min(position) FROM job_history) >= $1::bigint
