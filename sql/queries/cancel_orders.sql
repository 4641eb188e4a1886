-- Purpose: take orders back: what was never sent ends now; of the rest it is noted that a cancel is wanted.
-- Parameters: order_ids, reasons (arrays of one length), ended_at.
-- Locks: these rows; to be run under lock_portfolios, so that ends are numbered in order: one number per call.
WITH drawn AS MATERIALIZED (SELECT nextval('order_ends') AS number)
UPDATE orders
SET cancel_reason = given.reason,
    state = CASE orders.state WHEN 'planned' THEN 'ended' ELSE orders.state END,
    reason = CASE orders.state WHEN 'planned' THEN given.reason ELSE orders.reason END,
    unfilled = CASE orders.state WHEN 'planned' THEN orders.quantity ELSE orders.unfilled END,
    ended_at = CASE orders.state WHEN 'planned' THEN %(ended_at)s::timestamptz END,
    ended_number = CASE orders.state WHEN 'planned' THEN (SELECT number FROM drawn) END
FROM unnest(%(order_ids)s::text[], %(reasons)s::text[]) AS given (order_id, reason)
WHERE orders.order_id = given.order_id AND orders.ended_at IS NULL
