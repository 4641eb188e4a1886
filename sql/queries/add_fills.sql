-- Purpose: note what was booked of orders.
-- Parameters: order_ids, quantities (arrays of one length). To be run in the transaction that books the fills.
-- Locks: these rows.
UPDATE orders
SET filled = orders.filled + given.quantity
FROM unnest(%(order_ids)s::text[], %(quantities)s::numeric[]) AS given (order_id, quantity)
WHERE orders.order_id = given.order_id
