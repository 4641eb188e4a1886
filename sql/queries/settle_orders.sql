-- Purpose: end orders: filled, or ended without a (full) fill.
-- Parameters: order_ids, states, reasons, unfilled (arrays of one length), ended_at.
-- Locks: these rows; to be run under lock_portfolios, so that ends are numbered in order: one number per call.
WITH drawn AS MATERIALIZED (SELECT nextval('order_ends') AS number)
UPDATE orders
SET state = given.state, reason = given.reason, unfilled = given.unfilled, ended_at = %(ended_at)s,
    ended_number = (SELECT number FROM drawn)
FROM unnest(%(order_ids)s::text[], %(states)s::text[], %(reasons)s::text[], %(unfilled)s::numeric[])
    AS given (order_id, state, reason, unfilled)
WHERE orders.order_id = given.order_id AND orders.ended_at IS NULL
