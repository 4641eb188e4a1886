-- Purpose: the orders of a portfolio in a ticker that have not ended and were decided before its first bar from a moment
-- on, or by a liquidation (which closes what the books held), locked: their requests are not taken by the paper broker
-- meanwhile.
-- Parameters: portfolio_id, ticker, from, source and bar_interval of the bars.
-- Locks: these rows. To be run under lock_portfolios.
SELECT orders.order_id, orders.side, orders.quantity, orders.filled, orders.limit_price, orders.stop_price,
    orders.decision_price
FROM orders
JOIN decisions USING (portfolio_id, due_at)
WHERE orders.portfolio_id = %(portfolio_id)s AND orders.ticker = %(ticker)s AND orders.ended_at IS NULL
    AND (decisions.kind = 'liquidation' OR decisions.bar_timestamp < coalesce((
        SELECT min(market_data.timestamp) FROM market_data
        WHERE source = %(source)s AND market_data.ticker = %(ticker)s AND bar_interval = %(bar_interval)s
            AND market_data.timestamp >= %(from)s
    ), %(from)s))
ORDER BY orders.due_at, orders.intent
FOR UPDATE OF orders
