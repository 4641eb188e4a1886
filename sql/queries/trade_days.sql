-- Purpose: on which days some trade rows happened (UTC), by id.
-- Parameters: ids (array).
-- Locks: none. Cost: an index entry per id.
SELECT id, (exec_timestamp AT TIME ZONE 'UTC')::date FROM trade_execution_logs WHERE id = ANY (%(ids)s::bigint[])
