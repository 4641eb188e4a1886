-- Purpose: end the halts of a portfolio; without one all halts, those of single portfolios included.
-- Parameters: portfolio_id (null: all), resumed_by.
-- Locks: these rows.
UPDATE halts
SET resumed_by = %(resumed_by)s, resumed_at = clock_timestamp()
WHERE resumed_at IS NULL AND (%(portfolio_id)s::text IS NULL OR portfolio_id = %(portfolio_id)s)
RETURNING portfolio_id, reason, keep_orders, halted_by, halted_at, resumed_by, resumed_at
