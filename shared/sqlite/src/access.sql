-- From version 2 to 3.

CREATE TABLE tokens (
    name TEXT PRIMARY KEY,
    expires INTEGER NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX tokens_by_end ON tokens (expires);

-- Who did what.
CREATE TABLE audit (
    at INTEGER NOT NULL,
    id TEXT NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (at, id)
);

-- Names of secrets, as a JSON list.
ALTER TABLE pools ADD COLUMN secrets TEXT NOT NULL DEFAULT '[]';
