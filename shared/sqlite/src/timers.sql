-- From version 1 to 2: a timer for each run instead of an index of leases. Runs that are active are looked at once.

ALTER TABLE runs ADD COLUMN timer INTEGER;
UPDATE runs SET timer = 0 WHERE active = 1;
CREATE INDEX timers ON runs (timer, run) WHERE timer IS NOT NULL;
DROP INDEX leases;
ALTER TABLE jobs DROP COLUMN lease_until;
