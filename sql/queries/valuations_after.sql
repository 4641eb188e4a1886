-- Purpose: equity and profit of a portfolio's valuations after a known one, in their order.
-- Parameters: portfolio_id, after (id of the last one known; 0: from the beginning).
-- Locks: none. Cost: the new ones.
SELECT id, equity, notional
FROM pnl_book
WHERE portfolio_id = %(portfolio_id)s AND id > %(after)s
ORDER BY id
