-- From schema 4 to 5.

-- The fields of a job's phase are beside those of its record, and the phase's name is `status`.
UPDATE jobs SET record = json_remove(CASE
    WHEN json_type(record, '$.phase.waiting') = 'object' THEN json_set(record,
        '$.status', 'waiting', '$.waiting_on', json(record -> '$.phase.waiting.on'))
    WHEN json_type(record, '$.phase.ready') = 'object' THEN json_set(record,
        '$.status', 'ready', '$.at', record ->> '$.phase.ready.at', '$.until', record ->> '$.phase.ready.until')
    WHEN json_type(record, '$.phase.running') = 'object' THEN json_set(record,
        '$.status', 'running', '$.lease', json(record -> '$.phase.running'))
    ELSE json_set(record,
        '$.status', 'ended', '$.outcome', json(record -> '$.phase.ended.outcome'),
        '$.at', record ->> '$.phase.ended.at',
        '$.lease', json(coalesce(record -> '$.phase.ended.lease', record -> '$.phase.ended.hold')))
END, '$.phase');

-- A run's timer is a number, as in the column: 0 while it is firing.
UPDATE runs SET control = json_set(control, '$.timer', timer);

-- Pools and idempotency keys are records too.
CREATE TABLE new_pools (
    id TEXT PRIMARY KEY,
    used_at INTEGER NOT NULL, -- when the pool was last added
    record TEXT NOT NULL
);
INSERT INTO new_pools
SELECT id, 0, json_object('id', id, 'labels', json(labels), 'secrets', json(secrets)) FROM pools;
DROP TABLE pools;
ALTER TABLE new_pools RENAME TO pools;
CREATE INDEX pools_by_use ON pools (used_at);

CREATE TABLE new_idempotency (
    key TEXT PRIMARY KEY,
    expires INTEGER NOT NULL,
    record TEXT NOT NULL
);
INSERT INTO new_idempotency
SELECT key, expires, json_object('key', key, 'body', body, 'workflow', workflow, 'expires', expires) FROM idempotency;
DROP TABLE idempotency;
ALTER TABLE new_idempotency RENAME TO idempotency;
CREATE INDEX idempotency_by_end ON idempotency (expires);

-- A change event holds a copy of a record as it was. A reconciliation names the record and processes what it is now.
UPDATE work
SET work = json_object('reconcile', json_object('job', json(work -> '$.change_event.job_ended.key')))
WHERE json_type(work, '$.change_event.job_ended') = 'object';
UPDATE work
SET work = json_object('reconcile', json_object('run', coalesce(
    work ->> '$.change_event.run_opened.run', work ->> '$.change_event.run_cancelling.run'
)))
WHERE json_type(work, '$.change_event') = 'object';
