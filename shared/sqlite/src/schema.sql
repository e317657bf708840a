-- A record is JSON, as the engine's types write themselves; beside it stand the columns that something is found by.

CREATE TABLE workflows (
    id TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX workflows_by_age ON workflows (created_at, id);

CREATE TABLE idempotency (
    key TEXT PRIMARY KEY,
    body TEXT NOT NULL,
    workflow TEXT NOT NULL,
    expires INTEGER NOT NULL
);
CREATE INDEX idempotency_by_end ON idempotency (expires);

CREATE TABLE runs (
    run TEXT PRIMARY KEY,
    active INTEGER NOT NULL, -- whether it is open or cancelling
    control TEXT NOT NULL,
    timer INTEGER -- when it is looked at, while it is active
);
CREATE INDEX active_runs ON runs (run) WHERE active = 1;
CREATE INDEX timers ON runs (timer, run) WHERE timer IS NOT NULL;

CREATE TABLE definitions (
    run TEXT PRIMARY KEY,
    source TEXT NOT NULL
);

CREATE TABLE jobs (
    run TEXT NOT NULL,
    place INTEGER NOT NULL, -- the job's index
    pool TEXT NOT NULL,
    ready_at INTEGER, -- while it is in its pool's ready list
    record TEXT NOT NULL,
    PRIMARY KEY (run, place)
);
CREATE INDEX ready_lists ON jobs (pool, ready_at, run, place) WHERE ready_at IS NOT NULL;

-- Specs that are stored apart from their jobs' records.
CREATE TABLE specs (
    run TEXT NOT NULL,
    place INTEGER NOT NULL,
    spec TEXT NOT NULL,
    PRIMARY KEY (run, place)
);

CREATE TABLE wait_shards (
    run TEXT NOT NULL,
    place INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    members TEXT NOT NULL,
    PRIMARY KEY (run, place, shard)
);

CREATE TABLE outputs (
    run TEXT NOT NULL,
    place INTEGER NOT NULL,
    id TEXT NOT NULL,
    outputs TEXT NOT NULL,
    PRIMARY KEY (run, place, id)
);

CREATE TABLE logs (
    run TEXT NOT NULL,
    place INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    sequence INTEGER NOT NULL, -- less 2^63, since it may be any number of 64 bits
    piece TEXT NOT NULL,
    PRIMARY KEY (run, place, attempt, sequence)
);

CREATE TABLE pools (
    id TEXT PRIMARY KEY,
    labels TEXT NOT NULL
);

CREATE TABLE workers (
    id TEXT PRIMARY KEY,
    last_seen INTEGER NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX workers_by_age ON workers (last_seen);

-- Changes that something follows from, and steps of long work, until they are done. A number is never used again.
CREATE TABLE work (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    work TEXT NOT NULL
);
