-- Purpose: orders as a split makes them: of new shares, at prices of new shares.
-- Parameters: order_ids, quantities, limit_prices, stop_prices, decision_prices (arrays of one length).
-- Locks: these rows. To be run in the transaction that books the split.
UPDATE orders
SET quantity = given.quantity, limit_price = given.limit_price, stop_price = given.stop_price,
    decision_price = given.decision_price
FROM unnest(%(order_ids)s::text[], %(quantities)s::numeric[], %(limit_prices)s::numeric[], %(stop_prices)s::numeric[],
    %(decision_prices)s::numeric[]) AS given (order_id, quantity, limit_price, stop_price, decision_price)
WHERE orders.order_id = given.order_id AND orders.ended_at IS NULL
