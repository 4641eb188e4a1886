-- Purpose: every halt that there was, oldest first.
-- Parameters: portfolio_id (null: those of every portfolio).
-- Locks: none.
SELECT portfolio_id, reason, keep_orders, halted_by, halted_at, resumed_by, resumed_at
FROM halts
WHERE %(portfolio_id)s::text IS NULL OR portfolio_id = %(portfolio_id)s OR portfolio_id IS NULL
ORDER BY halted_at, id
