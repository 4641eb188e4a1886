-- Purpose: why a portfolio is halted: its own halts and those of all portfolios, oldest first. No row: it is not.
-- Parameters: portfolio_id (null: the halts of every portfolio).
-- Locks: none. Cost: an index with the halts in force, and nothing else.
SELECT portfolio_id, reason, keep_orders, halted_by, halted_at, resumed_by, resumed_at
FROM halts
WHERE (%(portfolio_id)s::text IS NULL OR portfolio_id = %(portfolio_id)s OR portfolio_id IS NULL)
  AND resumed_at IS NULL
ORDER BY halted_at, id
