-- Purpose: halt a portfolio, or all; nothing where it is halted for this reason already.
-- Parameters: portfolio_id (null: all), reason, keep_orders, halted_by.
-- Locks: the new row.
INSERT INTO halts (portfolio_id, reason, keep_orders, halted_by)
VALUES (%(portfolio_id)s, %(reason)s, %(keep_orders)s, %(halted_by)s)
ON CONFLICT (portfolio_id, reason) WHERE resumed_at IS NULL DO NOTHING
