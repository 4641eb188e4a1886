-- Purpose: the paper broker takes an order that is being sent; nothing where it has one of this id, or where the journal
-- has settled meanwhile that it must not be sent, or a split has made another of it (a request that comes late, of an
-- engine that was paused). It trades in bars that open after it was taken, and after those that it was decided on.
-- Parameters: order_id, account, ticker, side, quantity, order_type, limit_price, stop_price, time_in_force, accepted_at.
-- Locks: the new row; the journal's row against being settled.
INSERT INTO paper_orders (order_id, account, ticker, side, quantity, order_type, limit_price, stop_price,
    time_in_force, accepted_at)
SELECT %(order_id)s, %(account)s, %(ticker)s, %(side)s, %(quantity)s, %(order_type)s, %(limit_price)s,
    %(stop_price)s, %(time_in_force)s, greatest(%(accepted_at)s, due_at)
FROM orders
WHERE order_id = %(order_id)s AND state = 'sending' AND cancel_reason IS NULL AND quantity = %(quantity)s
FOR SHARE
ON CONFLICT (order_id) DO NOTHING
