-- From schema 5 to 6.

-- A claim looks only at pools that have ready jobs and whose first label, in alphabetical order, the worker has. The number of
-- ready jobs follows from the table of jobs.
ALTER TABLE pools ADD COLUMN first_label TEXT NOT NULL DEFAULT '';
ALTER TABLE pools ADD COLUMN ready_jobs INTEGER NOT NULL DEFAULT 0;
UPDATE pools SET
    first_label = coalesce(record ->> '$.labels[0]', ''),
    ready_jobs = (SELECT count(*) FROM jobs WHERE jobs.pool = pools.id AND ready_at IS NOT NULL);
CREATE INDEX ready_pools ON pools (first_label) WHERE ready_jobs > 0;

CREATE TRIGGER ready_job_added AFTER INSERT ON jobs WHEN new.ready_at IS NOT NULL BEGIN
    UPDATE pools SET ready_jobs = ready_jobs + 1 WHERE id = new.pool;
END;
CREATE TRIGGER job_became_ready AFTER UPDATE ON jobs WHEN old.ready_at IS NULL AND new.ready_at IS NOT NULL BEGIN
    UPDATE pools SET ready_jobs = ready_jobs + 1 WHERE id = new.pool;
END;
CREATE TRIGGER job_left_its_list AFTER UPDATE ON jobs WHEN old.ready_at IS NOT NULL AND new.ready_at IS NULL BEGIN
    UPDATE pools SET ready_jobs = ready_jobs - 1 WHERE id = new.pool;
END;
CREATE TRIGGER ready_job_deleted AFTER DELETE ON jobs WHEN old.ready_at IS NOT NULL BEGIN
    UPDATE pools SET ready_jobs = ready_jobs - 1 WHERE id = old.pool;
END;
