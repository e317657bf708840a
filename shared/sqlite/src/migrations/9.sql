-- From schema 8 to 9.

-- Who waits for a turn in a group. The run is that of the unit, whose records are deleted together.
CREATE TABLE places (
    group_key TEXT NOT NULL,
    at INTEGER NOT NULL,
    unit TEXT NOT NULL,
    yields INTEGER NOT NULL,
    run TEXT NOT NULL,
    PRIMARY KEY (group_key, at, unit)
);
CREATE INDEX places_of_a_run ON places (run);

-- Who has a group, or had it last.
CREATE TABLE holders (
    group_key TEXT PRIMARY KEY,
    unit TEXT NOT NULL,
    run TEXT NOT NULL
);
CREATE INDEX holders_of_a_run ON holders (run);
