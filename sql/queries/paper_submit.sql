-- Purpose: the paper broker takes an order; nothing where it has one of this id.
-- Parameters: order_id, account, ticker, side, quantity, order_type, limit_price, stop_price, time_in_force, accepted_at.
-- Locks: the new row.
INSERT INTO paper_orders (order_id, account, ticker, side, quantity, order_type, limit_price, stop_price,
    time_in_force, accepted_at)
VALUES (%(order_id)s, %(account)s, %(ticker)s, %(side)s, %(quantity)s, %(order_type)s, %(limit_price)s,
    %(stop_price)s, %(time_in_force)s, %(accepted_at)s)
ON CONFLICT (order_id) DO NOTHING
