-- Purpose: rows of cash and positions that no trade has made.
-- Parameters: portfolio_ids (array).
-- Locks: none. Cost: every row of these portfolios.
SELECT portfolio_id, NULL::bigint, 'cash_equity_book', id, 'trade_id', 'a trade', 'none'
FROM cash_equity_book
WHERE trade_id IS NULL AND portfolio_id = ANY (%(portfolio_ids)s::text[])
UNION ALL
SELECT portfolio_id, NULL::bigint, 'positions_book', position_id, 'trade_id', 'a trade', 'none'
FROM positions_book
WHERE trade_id IS NULL AND portfolio_id = ANY (%(portfolio_ids)s::text[])
LIMIT 100
