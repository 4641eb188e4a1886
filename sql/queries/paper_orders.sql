-- Purpose: how some orders of a paper account stand.
-- Parameters: account, order_ids (array).
-- Locks: none.
SELECT order_id, ticker, side, quantity, order_type, limit_price, stop_price, time_in_force, filled, is_closed, reason
FROM paper_orders
WHERE account = %(account)s AND order_id = ANY (%(order_ids)s::text[])
