-- Purpose: the same orders at the paper broker, which keeps them as a split makes them; nothing for those it has not got.
-- Parameters: order_ids, quantities, limit_prices, stop_prices (arrays of one length).
-- Locks: these rows. To be run in the transaction that books the split.
UPDATE paper_orders
SET quantity = given.quantity, limit_price = given.limit_price, stop_price = given.stop_price
FROM unnest(%(order_ids)s::text[], %(quantities)s::numeric[], %(limit_prices)s::numeric[], %(stop_prices)s::numeric[])
    AS given (order_id, quantity, limit_price, stop_price)
WHERE paper_orders.order_id = given.order_id AND NOT paper_orders.is_closed
