-- Purpose: take back what nobody has taken.
-- Parameters: ids (array), answer.
-- Locks: these rows.
UPDATE commands
SET state = 'failed', answered_at = clock_timestamp(), answer = %(answer)s
WHERE id = ANY (%(ids)s::bigint[]) AND state = 'waiting'
