-- Purpose: the cash that open buys have spoken for, per portfolio that has any: unfilled rest × limit, else × the close
-- decided on and half a percent (what the market may move until the fill). What a broker filled too much frees nothing.
-- Parameters: portfolio_ids (array).
-- Locks: none.
SELECT
    portfolio_id,
    ceil(sum(greatest(quantity - filled, 0) * coalesce(limit_price, decision_price * 1.005) * decision_rate) * 1e6) / 1e6
FROM orders
WHERE portfolio_id = ANY (%(portfolio_ids)s::text[]) AND ended_at IS NULL AND side = 'BUY'
GROUP BY portfolio_id
