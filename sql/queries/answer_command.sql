-- Purpose: answer a command; nothing where another engine has taken it meanwhile.
-- Parameters: id, taken_by, taken_epoch, state (done or failed), answer.
-- Locks: this row.
UPDATE commands
SET state = %(state)s, answered_at = clock_timestamp(), answer = %(answer)s
WHERE id = %(id)s AND state = 'running' AND taken_by = %(taken_by)s AND taken_epoch = %(taken_epoch)s
