-- Purpose: the orders of a paper account that may still trade, in the order in which they were taken.
-- Parameters: account.
-- Locks: none; their writers hold the portfolio's lock.
SELECT order_id, ticker, side, quantity, order_type, limit_price, stop_price, time_in_force, accepted_at, matched_to,
    is_triggered, filled
FROM paper_orders
WHERE account = %(account)s AND NOT is_closed
ORDER BY number
