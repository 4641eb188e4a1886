-- Purpose: how orders of a paper account stand after some bars.
-- Parameters: order_ids, filled (shares added), closed (booleans), reasons, triggered (booleans): arrays of one length;
-- matched_to, matched_at.
-- Locks: these rows.
UPDATE paper_orders
SET filled = paper_orders.filled + given.filled, is_closed = given.closed, reason = given.reason,
    is_triggered = given.triggered, matched_to = %(matched_to)s, matched_at = %(matched_at)s
FROM unnest(%(order_ids)s::text[], %(filled)s::numeric[], %(closed)s::boolean[], %(reasons)s::text[],
    %(triggered)s::boolean[]) AS given (order_id, filled, closed, reason, triggered)
WHERE paper_orders.order_id = given.order_id AND NOT paper_orders.is_closed
