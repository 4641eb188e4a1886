-- Purpose: how these commands stand, in order of id.
-- Parameters: ids (array).
-- Locks: none.
SELECT id, kind, portfolio_id, arguments, asked_by, asked_at, state, taken_by, taken_epoch, answer
FROM commands
WHERE id = ANY (%(ids)s::bigint[])
ORDER BY id
