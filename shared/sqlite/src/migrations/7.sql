-- From schema 6 to 7.

-- The values of a run's inputs.
CREATE TABLE inputs (
    run TEXT PRIMARY KEY,
    input_values TEXT NOT NULL
);
