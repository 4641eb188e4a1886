-- Purpose: a portfolio's orders that were decided by a moment and had not ended by an earlier one, as they stand, with the
-- bars that they were decided on, in the order of decision.
-- Parameters: portfolio_id, after (null: all), until.
-- Locks: none. Cost: the portfolio's orders.
SELECT
    o.order_id, o.ticker, o.side, o.quantity, o.filled, o.unfilled, o.reason, o.ended_at, d.bar_timestamp, o.due_at,
    o.decision_price
FROM orders AS o
JOIN decisions AS d USING (portfolio_id, due_at)
WHERE o.portfolio_id = %(portfolio_id)s
  AND o.due_at <= %(until)s
  AND (o.ended_at IS NULL OR o.ended_at > coalesce(%(after)s::timestamptz, '-infinity'))
ORDER BY o.due_at, o.intent
