-- Purpose: the open orders of a portfolio, in the order in which they were decided.
-- Parameters: portfolio_id.
-- Locks: none.
SELECT order_id, due_at, ticker, side, quantity, decision_price
FROM orders
WHERE portfolio_id = %(portfolio_id)s AND state = 'open'
ORDER BY due_at, intent;
