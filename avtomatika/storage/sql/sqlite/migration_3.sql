-- Version 3: the log of changes.

CREATE TABLE changes (
    position INTEGER PRIMARY KEY,
    raw      BLOB NOT NULL
);

-- One row: changes below this position may be forgotten.
CREATE TABLE changes_floor (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    floor INTEGER NOT NULL
);
INSERT INTO changes_floor (id, floor) VALUES (1, 0);
