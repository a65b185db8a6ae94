-- Version 4: what is kept beside the jobs.

CREATE TABLE records (
    space   TEXT NOT NULL,
    key     TEXT NOT NULL,
    version INTEGER NOT NULL,
    ends_at REAL,  -- NULL for ever
    raw     BLOB NOT NULL,
    PRIMARY KEY (space, key)
);
CREATE INDEX records_by_end ON records (ends_at) WHERE ends_at IS NOT NULL;

CREATE TABLE counters (
    key     TEXT PRIMARY KEY,
    total   INTEGER NOT NULL,
    ends_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX counters_by_end ON counters (ends_at);
