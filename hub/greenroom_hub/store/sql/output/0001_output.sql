-- What calls printed, bounded for each call and in all. Apart from the log: it may be lost, the log may not.

CREATE TABLE executions (
    key  INTEGER NOT NULL PRIMARY KEY,
    name TEXT    NOT NULL UNIQUE
) STRICT;

CREATE TABLE places (
    key       INTEGER NOT NULL PRIMARY KEY,
    execution INTEGER NOT NULL,
    node      TEXT    NOT NULL,
    UNIQUE (execution, node)
) STRICT;

CREATE TABLE pieces (
    id        INTEGER NOT NULL PRIMARY KEY,
    execution INTEGER NOT NULL,
    place     INTEGER NOT NULL,
    item      INTEGER NOT NULL,
    attempt   INTEGER NOT NULL,
    stream    INTEGER NOT NULL,
    start     INTEGER NOT NULL,
    -- Bytes of the stream right before this piece that were not kept.
    missed    INTEGER NOT NULL,
    data      BLOB    NOT NULL
) STRICT;

-- Pages through an execution, and through one node of it, without a look at the pieces of others.
CREATE INDEX pieces_by_execution ON pieces (execution, id, place);
CREATE INDEX pieces_by_call ON pieces (place, item, attempt, id);
