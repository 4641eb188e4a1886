-- Purpose: the latest valuation of a portfolio.
-- Parameters: portfolio_id.
-- Locks: none. Cost: one index entry.
SELECT timestamp, notional, equity, realised, unrealised, income, costs, bar_timestamp
FROM pnl_book
WHERE portfolio_id = %(portfolio_id)s
ORDER BY timestamp DESC, id DESC
LIMIT 1
