-- The version stands in a table, not in PRAGMA user_version, so that the history may share a file with the storage.
CREATE TABLE IF NOT EXISTS history_schema (version INTEGER NOT NULL);

-- position is the order of arrival; an explicit column, as VACUUM may renumber implicit row ids.
CREATE TABLE IF NOT EXISTS job_history (
    position         INTEGER PRIMARY KEY,
    event_id         TEXT NOT NULL UNIQUE,
    job_id           TEXT NOT NULL,
    timestamp        TEXT NOT NULL,  -- ISO 8601, UTC, six decimals
    state            TEXT,
    event_type       TEXT NOT NULL,
    duration_ms      REAL,
    previous_state   TEXT,
    next_state       TEXT,
    worker_id        TEXT,
    attempt_number   INTEGER,
    context_snapshot TEXT NOT NULL,  -- a JSON object
    task_id          TEXT,
    blueprint        TEXT,
    sequence         INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS job_history_by_job ON job_history (job_id, sequence);
CREATE INDEX IF NOT EXISTS job_history_by_time ON job_history (timestamp);

CREATE TABLE IF NOT EXISTS worker_history (
    position             INTEGER PRIMARY KEY,
    event_id             TEXT NOT NULL UNIQUE,
    worker_id            TEXT NOT NULL,
    timestamp            TEXT NOT NULL,
    event_type           TEXT NOT NULL,
    worker_info_snapshot TEXT NOT NULL  -- a JSON object
);
CREATE INDEX IF NOT EXISTS worker_history_by_worker ON worker_history (worker_id, timestamp);
CREATE INDEX IF NOT EXISTS worker_history_by_time ON worker_history (timestamp);

INSERT INTO history_schema (version) SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM history_schema);
