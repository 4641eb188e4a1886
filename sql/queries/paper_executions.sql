-- Purpose: the executions of a paper account after a place, in order.
-- Parameters: account, place (the number of the last one known).
-- Locks: none.
SELECT number, execution_id, order_id, ticker, side, quantity, price, fees, arrival_price, executed_at, session
FROM paper_executions
WHERE account = %(account)s AND number > %(place)s
ORDER BY number
