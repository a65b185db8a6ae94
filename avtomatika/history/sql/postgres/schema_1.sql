-- COLLATE "C" orders ids byte by byte, as SQLite does, whatever the language of the database.
-- position is the order of arrival. It has gaps: a row that is there already has used up a number, too.
-- snapshot_json is the snapshot's exact text where JSONB would change or refuse it, else NULL.
CREATE TABLE job_history (
    position         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id         TEXT COLLATE "C" NOT NULL UNIQUE,
    job_id           TEXT COLLATE "C" NOT NULL,
    timestamp        TIMESTAMPTZ NOT NULL,
    state            TEXT,
    event_type       TEXT NOT NULL,
    duration_ms      DOUBLE PRECISION,
    previous_state   TEXT,
    next_state       TEXT,
    worker_id        TEXT,
    attempt_number   BIGINT,
    context_snapshot JSONB NOT NULL,
    task_id          TEXT,
    blueprint        TEXT,
    sequence         BIGINT NOT NULL,
    snapshot_json    TEXT
);
CREATE INDEX job_history_by_job ON job_history (job_id, sequence);
CREATE INDEX job_history_by_time ON job_history (timestamp);

CREATE TABLE worker_history (
    position             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id             TEXT COLLATE "C" NOT NULL UNIQUE,
    worker_id            TEXT COLLATE "C" NOT NULL,
    timestamp            TIMESTAMPTZ NOT NULL,
    event_type           TEXT NOT NULL,
    worker_info_snapshot JSONB NOT NULL,
    snapshot_json        TEXT
);
CREATE INDEX worker_history_by_worker ON worker_history (worker_id, timestamp);
CREATE INDEX worker_history_by_time ON worker_history (timestamp);

-- One row for each migration that was made; the greatest is the version of the tables.
CREATE TABLE history_schema (version INTEGER PRIMARY KEY, made_at TIMESTAMPTZ NOT NULL DEFAULT now());
