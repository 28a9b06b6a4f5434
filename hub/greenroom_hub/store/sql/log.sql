-- Named queries of the log. `(?, ...)` behind VALUES and `IN (?)` are repeated for as many as are given at once.

-- name: raise_epoch
UPDATE hub SET epoch = epoch + 1 RETURNING epoch;

-- name: head
SELECT max(floor, coalesce((SELECT max(position) FROM events), 0)) FROM hub;

-- name: last_stream
SELECT max(coalesce((SELECT max(key) FROM streams), 0), coalesce((SELECT max(stream) FROM reaping), 0));

-- Writing -------------------------------------------------------------------------------------------------------------

-- name: stream_of
SELECT key, coalesce((SELECT max(seq) FROM events WHERE stream = key), 0) FROM streams WHERE name = ?;

-- name: insert_stream
INSERT INTO streams (key, name) VALUES (?, ?);

-- name: insert_events
INSERT INTO events (position, stream, seq, at_ms, kind, data) VALUES (?, ?, ?, ?, ?, ?);

-- name: upsert_execution
INSERT INTO executions (stream, entity, project, state, submitted_by, submitted_ms, ended_ms, labels, idempotency_key,
                        parent, program)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (stream) DO UPDATE SET
    entity = excluded.entity, project = excluded.project, state = excluded.state,
    submitted_by = excluded.submitted_by, submitted_ms = excluded.submitted_ms, ended_ms = excluded.ended_ms,
    labels = excluded.labels, idempotency_key = excluded.idempotency_key, parent = excluded.parent,
    program = excluded.program;

-- name: set_live
UPDATE streams SET live = ?1 WHERE key = ?2 AND live <> ?1;

-- name: insert_program
INSERT INTO programs (digest, packed) VALUES (?, ?) ON CONFLICT DO NOTHING;

-- name: delete_program
DELETE FROM programs WHERE digest = ?;

-- name: upsert_result
INSERT INTO results (key, stream, node, item, position, at_ms) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET
    stream = excluded.stream, node = excluded.node, item = excluded.item, position = excluded.position,
    at_ms = excluded.at_ms;

-- name: void_results
DELETE FROM results WHERE stream = ?1 AND (?2 = '' OR node = ?2) AND (?3 < 0 OR item = ?3);

-- name: raise_floor
UPDATE hub SET floor = max(floor, (SELECT coalesce(max(position), 0) FROM events));

-- name: drop_stream
DELETE FROM streams WHERE key = ?;

-- name: drop_execution
DELETE FROM executions WHERE stream = ?;

-- name: mark_reaping
INSERT INTO reaping (stream) VALUES (?);

-- name: next_reaping
SELECT stream FROM reaping LIMIT 1;

-- name: reap_events
DELETE FROM events WHERE position IN (SELECT position FROM events WHERE stream = ? ORDER BY seq LIMIT ?);

-- name: reap_results
DELETE FROM results WHERE key IN (SELECT key FROM results WHERE stream = ? LIMIT ?);

-- name: reaped
DELETE FROM reaping WHERE stream = ?;

-- Reading -------------------------------------------------------------------------------------------------------------

-- name: heads
SELECT name, coalesce((SELECT max(seq) FROM events WHERE stream = key), 0) FROM streams WHERE live = 1;

-- name: live_positions
SELECT position FROM events WHERE stream IN (SELECT key FROM streams WHERE live = 1) ORDER BY position;

-- name: rows
SELECT e.position, s.name, e.seq, e.at_ms, e.kind, e.data
FROM events e JOIN streams s ON s.key = e.stream
WHERE e.position IN (?)
ORDER BY e.position;

-- name: read
SELECT e.position, s.name, e.seq, e.at_ms, e.kind, e.data
FROM streams s JOIN events e ON e.stream = s.key
WHERE s.name = ? AND e.seq > ?
ORDER BY e.seq LIMIT ?;

-- name: program
SELECT packed FROM programs WHERE digest = ?;

-- name: unused_programs
SELECT digest FROM programs p WHERE NOT EXISTS (SELECT 1 FROM executions e WHERE e.program = p.digest);

-- name: execution
SELECT s.name, entity, project, state, submitted_by, submitted_ms, ended_ms, labels, idempotency_key, parent, program
FROM streams s JOIN executions e ON e.stream = s.key
WHERE s.name = ?;

-- name: execution_by_key
SELECT s.name, entity, project, state, submitted_by, submitted_ms, ended_ms, labels, idempotency_key, parent, program
FROM executions e JOIN streams s ON s.key = e.stream
WHERE idempotency_key = ? AND idempotency_key <> ''
ORDER BY e.stream LIMIT 1;

-- name: key_of
SELECT key FROM streams WHERE name = ?;

-- name: executions
SELECT s.name, entity, project, state, submitted_by, submitted_ms, ended_ms, labels, idempotency_key, parent, program
FROM executions e CROSS JOIN streams s ON s.key = e.stream
WHERE e.stream < :before
ORDER BY e.stream DESC LIMIT :limit;

-- name: executions_in_state
SELECT s.name, entity, project, state, submitted_by, submitted_ms, ended_ms, labels, idempotency_key, parent, program
FROM executions e CROSS JOIN streams s ON s.key = e.stream
WHERE e.state = :state
  AND e.stream < :before
  AND s.name >= :prefix AND s.name < :prefix || char(1114111)
ORDER BY e.stream DESC LIMIT :limit;

-- name: executions_like
SELECT s.name, entity, project, state, submitted_by, submitted_ms, ended_ms, labels, idempotency_key, parent, program
FROM streams s CROSS JOIN executions e ON e.stream = s.key
WHERE s.name >= :prefix AND s.name < :prefix || char(1114111)
  AND e.stream < :before
ORDER BY e.stream DESC LIMIT :limit;

-- name: cached
SELECT r.key, s.name, r.node, r.item, r.position, r.at_ms
FROM results r JOIN streams s ON s.key = r.stream
WHERE r.key IN (?);

-- name: results
SELECT s.name, r.node, count(*), max(r.at_ms)
FROM results r JOIN streams s ON s.key = r.stream
GROUP BY r.stream, r.node
ORDER BY max(r.at_ms) DESC, r.stream DESC, r.node LIMIT ?;

-- name: weights
SELECT s.name, coalesce((SELECT sum(length(data)) FROM events WHERE stream = s.key), 0)
FROM streams s WHERE s.name IN (?);

-- name: sizes
SELECT (SELECT coalesce(sum(length(data)), 0) FROM events),
       (SELECT coalesce(sum(length(packed)), 0) FROM programs),
       (SELECT coalesce(sum(length(key) + length(node) + 24), 0) FROM results);

-- name: gaps
SELECT s.name, count(*), min(e.seq), max(e.seq)
FROM events e JOIN streams s ON s.key = e.stream
GROUP BY e.stream HAVING count(*) <> max(e.seq) OR min(e.seq) <> 1;
