-- Every statement of the SQLite storage; `-- name:` begins one. Schema: migration_*.sql.

-- name: find_job
SELECT j.fields,
       (SELECT raw FROM documents WHERE job_id = j.id AND name = 'initial_data'),
       (SELECT raw FROM documents WHERE job_id = j.id AND name = 'state_history'),
       (SELECT raw FROM documents WHERE job_id = j.id AND name = 'result')
FROM jobs AS j WHERE j.id = :job_id

-- name: list_jobs
-- The filters are made of the fragments in sqlite_reads.py.
SELECT j.fields,
       (SELECT raw FROM documents WHERE job_id = j.id AND name = 'initial_data'),
       (SELECT raw FROM documents WHERE job_id = j.id AND name = 'state_history'),
       (SELECT raw FROM documents WHERE job_id = j.id AND name = 'result')
FROM jobs AS j WHERE {filters}
ORDER BY j.created_at DESC, j.id DESC LIMIT :limit OFFSET :offset

-- name: find_stored
-- What a commit compares: the job, and the claim that is stored.
SELECT j.version, j.status, j.rows, j.fields, r.token
FROM jobs AS j LEFT JOIN ready AS r ON r.job_id = j.id WHERE j.id = :job_id

-- name: insert_job
INSERT INTO jobs (id, version, status, state, created_at, client, blueprint, rows, ended_at, fields)
VALUES (:job_id, :version, :status, :state, :created_at, :client, :blueprint, :rows, :ended_at, :fields)

-- name: update_job
UPDATE jobs SET version = :version, status = :status, state = :state, rows = :rows, ended_at = :ended_at,
                fields = :fields
WHERE id = :job_id

-- name: put_document
INSERT INTO documents (job_id, name, raw) VALUES (?, ?, ?)
ON CONFLICT (job_id, name) DO UPDATE SET raw = excluded.raw

-- name: add_to_count
INSERT INTO counts (name, number) VALUES (:name, :change)
ON CONFLICT (name) DO UPDATE SET number = number + excluded.number

-- name: list_counts
SELECT name, number FROM counts WHERE number <> 0

-- name: find_dedupe
SELECT job_id, fingerprint FROM dedupe WHERE key = :key AND until > :now

-- name: forget_dedupe
DELETE FROM dedupe WHERE until <= :now

-- name: put_dedupe
INSERT INTO dedupe (key, job_id, fingerprint, until) VALUES (:key, :job_id, :fingerprint, :until)

-- name: count_row
-- The next row of a job's history, and what it says of the job.
SELECT state, blueprint, rows + 1 FROM jobs WHERE id = :job_id

-- name: set_rows
UPDATE jobs SET rows = :rows WHERE id = :job_id

-- name: put_rows
-- The rows of one step are one row here; what names it is the job and the number of the first.
INSERT INTO outbox (event_id, job_id, raw) VALUES (:step_id, :job_id, :raw)

-- name: list_rows
SELECT event_id, raw FROM outbox ORDER BY position LIMIT :limit

-- name: find_rows
SELECT raw FROM outbox WHERE event_id = :step_id

-- name: forget_rows
DELETE FROM outbox WHERE event_id = :step_id

-- name: acknowledge_rows
UPDATE jobs SET acknowledged = acknowledged + :number WHERE id = :job_id

-- name: put_message
INSERT INTO messages (id, topic, job_id, due_at, attempts, error, raw) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: add_sent
UPDATE jobs SET sent = sent + :number WHERE id = :job_id

-- name: list_due_messages
SELECT due_at, position, raw, due_at, attempts, error, buried_at FROM messages
WHERE topic = :topic AND buried_at IS NULL AND due_at <= :now ORDER BY due_at, position LIMIT :limit

-- name: claim_message
UPDATE messages SET due_at = :until, attempts = attempts + 1 WHERE position = :position

-- name: release_message
UPDATE messages SET due_at = :now, attempts = attempts - 1 WHERE id = :message_id AND buried_at IS NULL

-- name: find_sender
SELECT job_id FROM messages WHERE id = :message_id

-- name: find_message
SELECT raw, due_at, attempts, error, buried_at FROM messages WHERE id = :message_id

-- name: forget_message
DELETE FROM messages WHERE id = :message_id

-- name: add_delivered
UPDATE jobs SET delivered = delivered + 1 WHERE id = :job_id

-- name: postpone_message
UPDATE messages SET due_at = :at, error = :error WHERE id = :message_id AND buried_at IS NULL

-- name: bury_message
UPDATE messages SET buried_at = :now, error = :error WHERE id = :message_id AND buried_at IS NULL

-- name: replay_message
UPDATE messages SET due_at = :now, attempts = 0, buried_at = NULL WHERE id = :message_id AND buried_at IS NOT NULL

-- name: next_message
SELECT min(due_at) FROM messages WHERE topic = :topic AND buried_at IS NULL

-- name: list_dead_messages
SELECT raw, due_at, attempts, error, buried_at FROM messages
WHERE buried_at IS NOT NULL AND (buried_at, id) < (:at, :message_id) ORDER BY buried_at DESC, id DESC LIMIT :limit

-- name: list_dead_messages_of_topic
SELECT raw, due_at, attempts, error, buried_at FROM messages
WHERE topic = :topic AND buried_at IS NOT NULL AND (buried_at, id) < (:at, :message_id)
ORDER BY buried_at DESC, id DESC LIMIT :limit

-- name: forget_messages
DELETE FROM messages WHERE job_id = :job_id

-- name: find_record
SELECT raw, version, ends_at FROM records
WHERE space = :space AND key = :key AND (ends_at IS NULL OR ends_at > :now)

-- name: put_record
INSERT INTO records (space, key, version, ends_at, raw) VALUES (:space, :key, 1, :ends_at, :raw)
ON CONFLICT (space, key) DO UPDATE SET version = version + 1, ends_at = excluded.ends_at, raw = excluded.raw

-- name: forget_record
DELETE FROM records WHERE space = :space AND key = :key

-- name: forget_ended_records
DELETE FROM records WHERE ends_at IS NOT NULL AND ends_at <= :now

-- name: list_records
SELECT key, raw, version, ends_at FROM records
WHERE space = :space AND key > :after AND (ends_at IS NULL OR ends_at > :now) ORDER BY key LIMIT :limit

-- name: find_counter
SELECT total, ends_at FROM counters WHERE key = :key AND ends_at > :now

-- name: open_counter
INSERT INTO counters (key, total, ends_at) VALUES (:key, :total, :ends_at)
ON CONFLICT (key) DO UPDATE SET total = excluded.total

-- name: give_back
UPDATE counters SET total = :total WHERE key = :key

-- name: forget_ended_counters
DELETE FROM counters WHERE ends_at <= :now

-- name: find_ready
SELECT at, token, owner, due_at FROM ready WHERE job_id = :job_id

-- name: put_ready
-- In place of whatever the job had, behind everything that is there.
INSERT OR REPLACE INTO ready (job_id, at, priority, deliveries, token, owner, due_at, is_due)
VALUES (:job_id, :at, :priority, 0, '', '', :at, :at <= :now)

-- name: renew_ready
-- A new wake-up that the stored claim holds from the start.
UPDATE ready SET position = (SELECT max(position) + 1 FROM ready), at = :at, priority = :priority, deliveries = 1
WHERE job_id = :job_id

-- name: forget_ready
DELETE FROM ready WHERE job_id = :job_id

-- name: has_due_ready
SELECT EXISTS (SELECT 1 FROM ready WHERE is_due = 1) OR EXISTS (SELECT 1 FROM ready WHERE is_due = 0 AND due_at <= :now)

-- name: refresh_ready
UPDATE ready SET is_due = 1 WHERE is_due = 0 AND due_at <= :now

-- name: list_due_ready
SELECT job_id, deliveries + 1 FROM ready WHERE is_due = 1 ORDER BY priority DESC, at, position LIMIT :limit

-- name: claim_ready
UPDATE ready SET token = :token, owner = :owner, due_at = :until, is_due = 0, deliveries = deliveries + 1
WHERE job_id = :job_id

-- name: extend_ready
UPDATE ready SET due_at = :until, is_due = 0 WHERE job_id = :job_id AND token = :token

-- name: release_ready
UPDATE ready SET token = '', owner = '', deliveries = deliveries - 1, at = min(at, :now), due_at = min(at, :now),
                 is_due = 1
WHERE job_id = :job_id AND token = :token

-- name: put_timer
INSERT OR REPLACE INTO timers (job_id, kind, task_id, at, due_at) VALUES (?, ?, ?, ?, ?)

-- name: forget_timer
DELETE FROM timers WHERE job_id = ? AND kind = ? AND task_id = ?

-- name: forget_timers_of_tasks
DELETE FROM timers WHERE job_id = :job_id AND task_id <> ''

-- name: forget_timers
DELETE FROM timers WHERE job_id = :job_id

-- name: timers_of_job
SELECT job_id, kind, at, task_id FROM timers WHERE job_id = :job_id ORDER BY at, kind, task_id

-- name: has_due_timer
SELECT EXISTS (SELECT 1 FROM timers WHERE due_at <= :now)

-- name: list_due_timers
SELECT job_id, kind, at, task_id FROM timers WHERE due_at <= :now ORDER BY due_at LIMIT :limit

-- name: delay_timer
UPDATE timers SET due_at = :until WHERE job_id = :job_id AND kind = :kind AND task_id = :task_id

-- name: next_moment
SELECT min(at) FROM (
    SELECT min(due_at) AS at FROM ready WHERE is_due = 0 AND due_at > :now
    UNION ALL SELECT min(due_at) FROM timers
    UNION ALL SELECT min(watched_until) FROM tasks WHERE watched_until IS NOT NULL
)

-- name: find_task
SELECT raw FROM tasks WHERE id = :task_id

-- name: find_task_row
-- What a claim is compared with, and where the task stands.
SELECT raw, is_open, attempt, worker_id, queue, in_queue, watched_until IS NOT NULL FROM tasks WHERE id = :task_id

-- name: tasks_of_job
SELECT raw FROM tasks WHERE job_id = :job_id ORDER BY created_at, place, position

-- name: tasks_of_fan_out
SELECT raw FROM tasks WHERE job_id = :job_id AND fan_out = :fan_out ORDER BY created_at, place, position

-- name: open_tasks_of_job
SELECT raw FROM tasks WHERE job_id = :job_id AND is_open = 1 ORDER BY created_at, place, position

-- name: open_tasks_with_reach
-- For the audit: also whether the task is in a queue, and under a lease.
SELECT raw, in_queue, watched_until IS NOT NULL FROM tasks
WHERE job_id = :job_id AND is_open = 1 ORDER BY created_at, place, position

-- name: insert_task
INSERT INTO tasks (id, job_id, is_open, attempt, worker_id, queue, in_queue, priority, created_at, place, fan_out,
                   watched_until, raw)
VALUES (:task_id, :job_id, :is_open, :attempt, :worker_id, :queue, :in_queue, :priority, :created_at, :place, :fan_out,
        :watched_until, :raw)

-- name: update_task
UPDATE tasks SET job_id = :job_id, is_open = :is_open, attempt = :attempt, worker_id = :worker_id, queue = :queue,
                 in_queue = :in_queue, priority = :priority, created_at = :created_at, place = :place,
                 fan_out = :fan_out, watched_until = :watched_until, raw = :raw
WHERE id = :task_id

-- name: queued_tasks_of_job
SELECT queue FROM tasks WHERE job_id = :job_id AND in_queue = 1

-- name: forget_tasks
DELETE FROM tasks WHERE job_id = :job_id

-- name: has_queue
SELECT EXISTS (SELECT 1 FROM queues WHERE name = :queue)

-- name: find_first_task
SELECT -priority, created_at, position, raw FROM tasks WHERE queue = :queue AND in_queue = 1
ORDER BY priority DESC, created_at, position LIMIT 1

-- name: count_running
SELECT number FROM running WHERE name = :name

-- name: add_running
INSERT INTO running (name, number) VALUES (:name, 1) ON CONFLICT (name) DO UPDATE SET number = number + 1

-- name: drop_running
UPDATE running SET number = number - 1 WHERE name = :name

-- name: forget_running
DELETE FROM running WHERE name = :name AND number <= 0

-- name: enter_queue
INSERT INTO queues (name, length, needs) VALUES (:queue, 1, :needs)
ON CONFLICT (name) DO UPDATE SET length = length + 1

-- name: queue_length
SELECT length FROM queues WHERE name = :queue

-- name: leave_queue
UPDATE queues SET length = length - 1 WHERE name = :queue

-- name: forget_empty_queue
DELETE FROM queues WHERE name = :queue AND length = 0

-- name: list_queues
SELECT name, length, needs,
       (SELECT min(created_at) FROM tasks WHERE queue = queues.name AND in_queue = 1)
FROM queues ORDER BY name

-- name: claims_of_worker
SELECT id, attempt FROM tasks WHERE worker_id = :worker_id AND watched_until IS NOT NULL ORDER BY id

-- name: expired_tasks
SELECT raw FROM tasks WHERE watched_until IS NOT NULL AND watched_until <= :now ORDER BY watched_until LIMIT :limit

-- name: put_progress
INSERT OR REPLACE INTO progress (job_id, value, message, task_id, at)
SELECT id, :value, :message, :task_id, :at FROM jobs WHERE id = :job_id AND ended_at IS NULL

-- name: find_progress
SELECT value, message, task_id, at FROM progress WHERE job_id = :job_id

-- name: forget_progress
DELETE FROM progress WHERE job_id = :job_id

-- name: put_worker
INSERT OR REPLACE INTO workers (worker_id, until, raw) VALUES (:worker_id, :until, :raw)

-- name: forget_workers
DELETE FROM workers WHERE until <= :now

-- name: find_worker
SELECT raw FROM workers WHERE worker_id = :worker_id AND until > :now

-- name: list_workers
SELECT raw FROM workers WHERE until > :now ORDER BY worker_id

-- name: forget_worker
DELETE FROM workers WHERE worker_id = :worker_id

-- name: list_purgeable
SELECT id, status FROM jobs
WHERE ended_at IS NOT NULL AND ended_at < :ended_before AND rows = acknowledged
  AND (sent = delivered OR NOT EXISTS (
      SELECT 1 FROM messages WHERE job_id = jobs.id AND (buried_at IS NULL OR buried_at >= :ended_before)))
ORDER BY ended_at LIMIT :limit

-- name: forget_job
DELETE FROM jobs WHERE id = :job_id

-- name: forget_documents
DELETE FROM documents WHERE job_id = :job_id

-- name: audit_jobs
SELECT j.fields, j.id, j.rows, j.acknowledged,
       (SELECT count(*) FROM ready WHERE job_id = j.id),
       (SELECT count(*) FROM timers WHERE job_id = j.id),
       (SELECT count(*) FROM progress WHERE job_id = j.id)
FROM jobs AS j

-- name: audit_outbox
SELECT event_id, raw FROM outbox

-- name: audit_messages
SELECT j.id, j.sent, j.delivered,
       (SELECT count(*) FROM messages WHERE job_id = j.id AND buried_at IS NULL),
       (SELECT count(*) FROM messages WHERE job_id = j.id AND buried_at IS NOT NULL)
FROM jobs AS j WHERE j.sent > 0 OR EXISTS (SELECT 1 FROM messages WHERE job_id = j.id)

-- name: put_signals
INSERT INTO signals (origin, raw) VALUES (:origin, :raw)

-- name: trim_signals
DELETE FROM signals WHERE position <= :position

-- name: last_signal
SELECT coalesce(max(position), 0) FROM signals

-- name: list_signals
-- NULL for what this process told itself.
SELECT position, CASE WHEN origin = :origin THEN NULL ELSE raw END FROM signals
WHERE position > :position ORDER BY position

-- name: put_change
INSERT INTO changes (position, raw) VALUES (:position, :raw)

-- name: last_change
SELECT max(position) FROM changes

-- name: first_change
SELECT min(position) FROM changes

-- name: list_changes
SELECT position, raw FROM changes WHERE position > :after ORDER BY position LIMIT :limit

-- name: newest_changes_begin
SELECT position FROM changes ORDER BY position DESC LIMIT 1 OFFSET :keep - 1

-- name: forget_changes
DELETE FROM changes WHERE position < :before

-- name: changes_floor
SELECT floor FROM changes_floor WHERE id = 1

-- name: raise_changes_floor
UPDATE changes_floor SET floor = max(floor, :floor) WHERE id = 1
