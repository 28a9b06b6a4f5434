-- Named queries of the calls' output.

-- name: last_keys
SELECT coalesce((SELECT max(key) FROM executions), 0), coalesce((SELECT max(key) FROM places), 0),
       coalesce((SELECT max(id) FROM pieces), 0);

-- Writing -------------------------------------------------------------------------------------------------------------

-- name: execution_key
SELECT key FROM executions WHERE name = ?;

-- name: insert_execution
INSERT INTO executions (key, name) VALUES (?, ?);

-- name: place_key
SELECT key FROM places WHERE execution = ? AND node = ?;

-- name: insert_place
INSERT INTO places (key, execution, node) VALUES (?, ?, ?);

-- name: kept
SELECT id, stream, start, length(data), missed FROM pieces
WHERE place = ? AND item = ? AND attempt = ?
ORDER BY id;

-- name: insert_piece
INSERT INTO pieces (id, execution, place, item, attempt, stream, start, missed, data)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: delete_piece
DELETE FROM pieces WHERE id = ?;

-- name: set_missed
UPDATE pieces SET missed = ? WHERE id = ?;

-- name: oldest
SELECT id, length(data) FROM pieces ORDER BY id LIMIT ?;

-- name: delete_up_to
DELETE FROM pieces WHERE id <= ?;

-- name: some_of
SELECT id FROM pieces WHERE execution = ? ORDER BY id LIMIT ?;

-- name: delete_some_of
DELETE FROM pieces WHERE execution = ? AND id <= ?;

-- name: delete_places
DELETE FROM places WHERE execution = ?;

-- name: delete_execution
DELETE FROM executions WHERE key = ?;

-- Reading -------------------------------------------------------------------------------------------------------------

-- name: of_execution
SELECT p.id, l.node, p.item, p.attempt, p.stream, p.start, p.missed, p.data
FROM executions e CROSS JOIN pieces p ON p.execution = e.key CROSS JOIN places l ON l.key = p.place
WHERE e.name = :execution AND p.id > :after
ORDER BY p.id LIMIT :limit;

-- name: of_node
SELECT p.id, l.node, p.item, p.attempt, p.stream, p.start, p.missed, p.data
FROM executions e CROSS JOIN places l ON l.execution = e.key
     CROSS JOIN pieces p INDEXED BY pieces_by_execution ON p.execution = e.key AND p.place = l.key
WHERE e.name = :execution AND l.node = :node AND p.id > :after
ORDER BY p.id LIMIT :limit;

-- name: of_item
SELECT p.id, l.node, p.item, p.attempt, p.stream, p.start, p.missed, p.data
FROM executions e CROSS JOIN places l ON l.execution = e.key CROSS JOIN pieces p ON p.place = l.key
WHERE e.name = :execution AND l.node = :node AND p.item = :item AND p.id > :after
ORDER BY p.id LIMIT :limit;

-- name: of_attempt
SELECT p.id, l.node, p.item, p.attempt, p.stream, p.start, p.missed, p.data
FROM executions e CROSS JOIN places l ON l.execution = e.key CROSS JOIN pieces p ON p.place = l.key
WHERE e.name = :execution AND l.node = :node AND p.item = :item AND p.attempt = :attempt AND p.id > :after
ORDER BY p.id LIMIT :limit;

-- name: ends_of
SELECT p.id, l.node, p.item, p.attempt, p.stream, p.start, p.missed, p.data
FROM executions e CROSS JOIN places l ON l.execution = e.key CROSS JOIN pieces p ON p.place = l.key
WHERE e.name = :execution AND l.node = :node AND p.item = :item
  AND p.attempt = coalesce(:attempt, (SELECT max(attempt) FROM pieces q WHERE q.place = l.key AND q.item = :item))
ORDER BY p.id DESC LIMIT :limit;

-- name: weights
SELECT e.name, coalesce((SELECT sum(length(data)) FROM pieces WHERE execution = e.key), 0)
FROM executions e WHERE e.name IN (?);
