-- Version 5: limits on how many tasks are claimed at a time.

-- How many claimed tasks share something; one row for each name that stands in their limits.
CREATE TABLE running (
    name   TEXT PRIMARY KEY,
    number INTEGER NOT NULL
) WITHOUT ROWID;
