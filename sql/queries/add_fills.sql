-- Purpose: note what was booked of orders. Of one that had ended already, less has gone unfilled than was thought.
-- Parameters: order_ids, quantities (arrays of one length). To be run in the transaction that books the fills.
-- Locks: these rows.
UPDATE orders
SET filled = orders.filled + given.quantity,
    unfilled = CASE WHEN ended_at IS NULL THEN unfilled ELSE greatest(unfilled - given.quantity, 0) END
FROM unnest(%(order_ids)s::text[], %(quantities)s::numeric[]) AS given (order_id, quantity)
WHERE orders.order_id = given.order_id
