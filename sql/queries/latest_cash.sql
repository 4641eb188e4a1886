-- Purpose: a portfolio's cash: the latest row of cash_equity_book, the higher id where two have one timestamp.
-- Parameters: portfolio_id.
-- Locks: none. Cost: one index entry.
SELECT notional
FROM cash_equity_book
WHERE portfolio_id = %(portfolio_id)s
ORDER BY timestamp DESC, id DESC
LIMIT 1
