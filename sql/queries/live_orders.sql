-- Purpose: the orders of a portfolio that have not ended, in the order in which they were decided.
-- Parameters: portfolio_id.
-- Locks: none.
SELECT orders.order_id, orders.due_at, decisions.valid_until, orders.ticker, orders.side, orders.quantity,
    orders.filled, orders.decision_price, orders.order_type, orders.limit_price, orders.stop_price,
    orders.time_in_force, orders.is_target, orders.state, orders.sent_at, orders.cancel_reason,
    decisions.kind = 'liquidation'
FROM orders
JOIN decisions USING (portfolio_id, due_at)
WHERE orders.portfolio_id = %(portfolio_id)s AND orders.ended_at IS NULL
ORDER BY orders.due_at, orders.intent
