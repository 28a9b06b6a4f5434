-- The durable log of one hub.

CREATE TABLE hub (
    one   INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,
    -- Positions up to here were given away: what was dropped at the log's end must not be numbered again.
    floor INTEGER NOT NULL
) STRICT;

INSERT INTO hub (one, epoch, floor) VALUES (1, 0, 0);

-- Names of streams stand here once; rows refer to them by number. Without an entry here, rows are invisible.
CREATE TABLE streams (
    key  INTEGER NOT NULL PRIMARY KEY,
    name TEXT    NOT NULL UNIQUE,
    live INTEGER NOT NULL DEFAULT 1
) STRICT;

CREATE INDEX streams_live ON streams (key) WHERE live = 1;

CREATE TABLE events (
    position INTEGER NOT NULL PRIMARY KEY,
    stream   INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL,
    kind     INTEGER NOT NULL,
    data     BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX events_by_stream ON events (stream, seq);

-- Streams that were dropped, and whose rows are still to be deleted, a few at a time.
CREATE TABLE reaping (
    stream INTEGER NOT NULL PRIMARY KEY
) STRICT;

-- The projection that lists executions. Its keys are their streams', and so in the order of submission.
CREATE TABLE executions (
    stream          INTEGER NOT NULL PRIMARY KEY,
    entity          TEXT    NOT NULL,
    project         TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    submitted_by    TEXT    NOT NULL,
    submitted_ms    INTEGER NOT NULL,
    ended_ms        INTEGER,
    labels          BLOB    NOT NULL,
    idempotency_key TEXT    NOT NULL,
    parent          TEXT,
    program         TEXT    NOT NULL
) STRICT;

CREATE INDEX executions_by_state ON executions (state, stream);
CREATE INDEX executions_by_key ON executions (idempotency_key) WHERE idempotency_key <> '';
CREATE INDEX executions_by_program ON executions (program);

CREATE TABLE programs (
    digest TEXT NOT NULL PRIMARY KEY,
    packed BLOB NOT NULL
) STRICT;

CREATE TABLE results (
    key      BLOB    NOT NULL PRIMARY KEY,
    stream   INTEGER NOT NULL,
    node     TEXT    NOT NULL,
    item     INTEGER NOT NULL,
    position INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX results_by_stream ON results (stream);
