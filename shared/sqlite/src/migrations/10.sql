-- From schema 9 to 10.

-- Links to forges, deliveries, refs, reports and limits: items of ordered lists.
CREATE TABLE forge_items (
    list TEXT NOT NULL,
    sort TEXT NOT NULL,
    kind INTEGER NOT NULL,
    due INTEGER,
    version INTEGER NOT NULL,
    expires INTEGER,
    record TEXT NOT NULL,
    PRIMARY KEY (list, sort)
);
CREATE INDEX due_forge_items ON forge_items (kind, due) WHERE due IS NOT NULL;
CREATE INDEX expiring_forge_items ON forge_items (expires) WHERE expires IS NOT NULL;
