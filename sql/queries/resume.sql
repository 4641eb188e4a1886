-- Purpose: end the halts of a portfolio; without one all halts, those of single portfolios included. A loss that a risk
-- rule halted for is behind it from then on.
-- Parameters: portfolio_id (null: all), resumed_by.
-- Locks: these rows.
UPDATE halts
SET resumed_by = %(resumed_by)s, resumed_at = clock_timestamp(),
    measured_from = CASE halted_by WHEN 'risk rule' THEN (SELECT coalesce(max(id), 0) FROM pnl_book) END
WHERE resumed_at IS NULL AND (%(portfolio_id)s::text IS NULL OR portfolio_id = %(portfolio_id)s)
RETURNING portfolio_id, reason, keep_orders, halted_by, halted_at, resumed_by, resumed_at
