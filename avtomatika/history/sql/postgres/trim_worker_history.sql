DELETE FROM worker_history
WHERE position <= (SELECT position FROM worker_history ORDER BY position DESC OFFSET $1::bigint LIMIT 1)
AND (SELECT max(position) - min(position) FROM worker_history) >= $1::bigint
