-- Schema 3: all tables. A record is the JSON that serde writes of the engine's type. The other columns are keys and
-- the values that queries filter and sort by.

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
    active INTEGER NOT NULL, -- 1 while the run is open or cancelling
    control TEXT NOT NULL,
    timer INTEGER -- when the run's timer is due, while the run is active
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
    ready_at INTEGER, -- set while the job is in its pool's ready list
    record TEXT NOT NULL,
    PRIMARY KEY (run, place)
);
CREATE INDEX ready_lists ON jobs (pool, ready_at, run, place) WHERE ready_at IS NOT NULL;

-- Specs that are too large for their jobs' records.
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
    sequence INTEGER NOT NULL, -- minus 2^63: sequence numbers are unsigned 64-bit numbers
    piece TEXT NOT NULL,
    PRIMARY KEY (run, place, attempt, sequence)
);

CREATE TABLE pools (
    id TEXT PRIMARY KEY,
    labels TEXT NOT NULL,
    secrets TEXT NOT NULL DEFAULT '[]' -- names, as a JSON list
);

CREATE TABLE workers (
    id TEXT PRIMARY KEY,
    last_seen INTEGER NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX workers_by_age ON workers (last_seen);

-- The queue: change events, batch tasks and reconciliations, until they are done. A number is never used again.
CREATE TABLE work (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    work TEXT NOT NULL
);

CREATE TABLE tokens (
    name TEXT PRIMARY KEY,
    expires INTEGER NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX tokens_by_end ON tokens (expires);

-- The audit log.
CREATE TABLE audit (
    at INTEGER NOT NULL,
    id TEXT NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (at, id)
);
