-- From schema 7 to 8.

-- Whether a need that was removed from the shard failed.
ALTER TABLE wait_shards ADD COLUMN need_failed INTEGER NOT NULL DEFAULT 0;

-- A skipped job has the reason. That of an older one isn't known.
UPDATE jobs SET record = json_set(record, '$.outcome', json('{"skipped":"condition"}'))
WHERE json_extract(record, '$.outcome') = 'skipped';
