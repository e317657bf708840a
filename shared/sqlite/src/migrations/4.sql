-- From schema 3 to 4.

-- The version of the program that last opened the file for writing. One row. Every later schema keeps this table: an
-- older program reads it to say which program wrote the file.
CREATE TABLE program (version TEXT NOT NULL);

-- A definition that is JSON was submitted as JSON, unless the client said YAML.
ALTER TABLE definitions ADD COLUMN content_type TEXT NOT NULL DEFAULT 'application/yaml';
UPDATE definitions SET content_type = 'application/json' WHERE json_valid(source);

ALTER TABLE jobs RENAME COLUMN place TO job_index;
ALTER TABLE specs RENAME COLUMN place TO job_index;
ALTER TABLE wait_shards RENAME COLUMN place TO job_index;
ALTER TABLE outputs RENAME COLUMN place TO job_index;
ALTER TABLE logs RENAME COLUMN place TO job_index;

-- A spec keeps what the definition says of a job under `settings`.
CREATE TEMP TABLE new_specs AS
SELECT
    run,
    job_index,
    json_set(
        json_object(
            'settings', json(json_remove(
                old, '$.needs', '$.dependents', '$.place', '$.max_retries', '$.budgets', '$.backoff', '$.kept'
            )),
            'needs', json(coalesce(old -> '$.needs', '[]')),
            'dependents', json(coalesce(old -> '$.dependents', '[]')),
            'position', old ->> '$.place'
        ),
        '$.settings.retry', json_object(
            'max', coalesce(old ->> '$.max_retries', 0),
            'budgets', json(coalesce(old -> '$.budgets', '{}')),
            'backoff', json(coalesce(old -> '$.backoff', '"None"'))
        ),
        '$.settings.limits', json(limits),
        '$.settings.passthrough', json(coalesce(old -> '$.kept', '{}'))
    ) AS spec
FROM (
    SELECT run, job_index, record -> '$.spec' AS old, coalesce(record -> '$.limits', '{}') AS limits
    FROM jobs
    WHERE json_type(record, '$.spec') = 'object'
    UNION ALL
    SELECT run, job_index, spec AS old, coalesce(record -> '$.limits', '{}') AS limits
    FROM specs JOIN jobs USING (run, job_index)
);
UPDATE jobs SET record = json_set(record, '$.spec', json(new_specs.spec))
FROM new_specs
WHERE jobs.run = new_specs.run
    AND jobs.job_index = new_specs.job_index
    AND json_type(record, '$.spec') = 'object';
UPDATE specs SET spec = new_specs.spec
FROM new_specs
WHERE specs.run = new_specs.run AND specs.job_index = new_specs.job_index;
DROP TABLE new_specs;

-- A change event holds a copy of a record as it was. A reconciliation names the record and processes what it is now.
UPDATE work
SET work = json_object('reconcile', json_object('job', json(work -> '$.change_event.job_ended.key')))
WHERE json_type(work, '$.change_event.job_ended') = 'object';
UPDATE work
SET work = json_object('reconcile', json_object('run', coalesce(
    work ->> '$.change_event.run_opened.run', work ->> '$.change_event.run_cancelling.run'
)))
WHERE json_type(work, '$.change_event') = 'object';
