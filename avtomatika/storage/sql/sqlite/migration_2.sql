-- Version 2: messages that leave the engine.

-- Each waits (`buried_at` is NULL) or is a dead letter. `position` is the order in which they were written.
CREATE TABLE messages (
    position  INTEGER PRIMARY KEY,
    id        TEXT NOT NULL UNIQUE,
    topic     TEXT NOT NULL,
    job_id    TEXT NOT NULL,
    due_at    REAL NOT NULL,  -- when it can be claimed: its moment, or the end of its claim
    attempts  INTEGER NOT NULL,
    error     TEXT NOT NULL,
    buried_at REAL,
    raw       BLOB NOT NULL  -- the message as it was written
);
CREATE INDEX messages_due ON messages (topic, due_at, position) WHERE buried_at IS NULL;
CREATE INDEX messages_dead ON messages (buried_at, id) WHERE buried_at IS NOT NULL;
CREATE INDEX messages_dead_of_topic ON messages (topic, buried_at, id) WHERE buried_at IS NOT NULL;
CREATE INDEX messages_of_job ON messages (job_id);

-- How many messages a job has sent, and how many of them were acknowledged.
ALTER TABLE jobs ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN delivered INTEGER NOT NULL DEFAULT 0;
