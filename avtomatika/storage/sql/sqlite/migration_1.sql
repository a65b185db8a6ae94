-- The tables of version 1. A migration that was ever published never changes; the next one is a new file.

-- What is asked for stands in columns of its own; `fields` holds all small fields of the job as one msgpack map.
CREATE TABLE jobs (
    id           TEXT PRIMARY KEY,
    version      INTEGER NOT NULL,  -- number of commits
    status       TEXT NOT NULL,
    state        TEXT NOT NULL,
    created_at   REAL NOT NULL,
    client       TEXT NOT NULL,
    blueprint    TEXT NOT NULL,
    rows         INTEGER NOT NULL,  -- rows that its history has had
    acknowledged INTEGER NOT NULL DEFAULT 0,  -- how many of them have left the outbox
    ended_at     REAL,  -- NULL while it lives
    fields       BLOB NOT NULL
);
CREATE INDEX jobs_by_creation ON jobs (created_at, id);
CREATE INDEX jobs_of_client ON jobs (client, created_at, id);
CREATE INDEX jobs_by_end ON jobs (ended_at) WHERE ended_at IS NOT NULL;

-- The large fields, apart: a step that does not change the initial data does not write them again.
CREATE TABLE documents (
    job_id TEXT NOT NULL,
    name   TEXT NOT NULL,
    raw    BLOB NOT NULL,
    PRIMARY KEY (job_id, name)
);

-- Numbers of jobs: one row for each status, and one named `created`.
CREATE TABLE counts (
    name   TEXT PRIMARY KEY,
    number INTEGER NOT NULL
) WITHOUT ROWID;

-- At most one wake-up for each job. `position` grows with each one that is queued.
CREATE TABLE ready (
    position   INTEGER PRIMARY KEY,
    job_id     TEXT NOT NULL UNIQUE,
    at         REAL NOT NULL,  -- not before this moment
    priority   REAL NOT NULL,
    deliveries INTEGER NOT NULL,
    token      TEXT NOT NULL,  -- its last claim, or empty
    owner      TEXT NOT NULL,  -- who made that claim
    due_at     REAL NOT NULL,  -- when it can be claimed: its moment, or the end of its claim
    is_due     INTEGER NOT NULL  -- 1 once that has come, so that what is due stands in one index in its order
);
CREATE INDEX ready_due ON ready (priority DESC, at, position) WHERE is_due = 1;
CREATE INDEX ready_later ON ready (due_at) WHERE is_due = 0;

CREATE TABLE timers (
    job_id  TEXT NOT NULL,
    kind    TEXT NOT NULL,
    task_id TEXT NOT NULL,
    at      REAL NOT NULL,
    due_at  REAL NOT NULL,  -- later than `at` once it was claimed
    PRIMARY KEY (job_id, kind, task_id)
) WITHOUT ROWID;
CREATE INDEX timers_due ON timers (due_at);

-- `position` is the order in which tasks were first written; a task keeps it.
CREATE TABLE tasks (
    position      INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    job_id        TEXT NOT NULL,
    is_open       INTEGER NOT NULL,
    attempt       INTEGER NOT NULL,
    worker_id     TEXT NOT NULL,
    queue         TEXT NOT NULL,
    in_queue      INTEGER NOT NULL,  -- 1 while it can be claimed
    priority      REAL NOT NULL,
    created_at    REAL NOT NULL,
    place         INTEGER NOT NULL,  -- its index in the fan-out
    fan_out       TEXT NOT NULL,
    watched_until REAL,  -- the end of its lease, or NULL when it is under none
    raw           BLOB NOT NULL
);
CREATE INDEX tasks_of_job ON tasks (job_id, created_at, place, position);
CREATE INDEX tasks_in_queue ON tasks (queue, priority DESC, created_at, position) WHERE in_queue = 1;
CREATE INDEX tasks_by_age ON tasks (queue, created_at) WHERE in_queue = 1;
CREATE INDEX tasks_by_lease ON tasks (watched_until) WHERE watched_until IS NOT NULL;
CREATE INDEX tasks_of_worker ON tasks (worker_id, id) WHERE watched_until IS NOT NULL;

-- Queues in which tasks wait; `needs` is what the first of them needs.
CREATE TABLE queues (
    name   TEXT PRIMARY KEY,
    length INTEGER NOT NULL,
    needs  BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE outbox (
    position INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    job_id   TEXT NOT NULL,
    raw      BLOB NOT NULL
);

CREATE TABLE progress (
    job_id  TEXT PRIMARY KEY,
    value   REAL NOT NULL,
    message TEXT NOT NULL,
    task_id TEXT NOT NULL,
    at      REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE dedupe (
    key         TEXT PRIMARY KEY,
    job_id      TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    until       REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX dedupe_by_end ON dedupe (until);

CREATE TABLE workers (
    worker_id TEXT PRIMARY KEY,
    until     REAL NOT NULL,
    raw       BLOB NOT NULL
);
CREATE INDEX workers_by_end ON workers (until);

-- What each group of steps told, for other processes; only the newest are kept. AUTOINCREMENT, because a reader
-- remembers the last position it saw.
CREATE TABLE signals (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    origin   TEXT NOT NULL,
    raw      BLOB NOT NULL
);
