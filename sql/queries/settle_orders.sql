-- Purpose: end orders: filled, or ended without a (full) fill.
-- Parameters: order_ids, states, reasons, unfilled (arrays of one length), ended_at.
-- Locks: these rows; to be run under lock_portfolios, so that ends are numbered in order.
UPDATE orders
SET state = given.state, reason = given.reason, unfilled = given.unfilled, ended_at = %(ended_at)s,
    ended_number = nextval('order_ends')
FROM unnest(%(order_ids)s::text[], %(states)s::text[], %(reasons)s::text[], %(unfilled)s::numeric[])
    AS given (order_id, state, reason, unfilled)
WHERE orders.order_id = given.order_id AND orders.ended_at IS NULL
