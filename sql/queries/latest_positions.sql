-- Purpose: the latest row per ticker of positions_book, tickers in order; same answer as latest_positions_plain.
-- Parameters: portfolio_id.
-- Locks: none. Cost: two index entries per ticker ever held, whatever the history: the recursive part jumps
-- from one ticker to the next, the lateral part takes the newest row of each.
WITH RECURSIVE held AS (
    (
        SELECT ticker FROM positions_book
        WHERE portfolio_id = %(portfolio_id)s
        ORDER BY ticker LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT book.ticker FROM positions_book AS book
        WHERE book.portfolio_id = %(portfolio_id)s AND book.ticker > held.ticker
        ORDER BY book.ticker LIMIT 1
    )
    FROM held
    WHERE held.ticker IS NOT NULL
)
SELECT latest.position_id, latest.portfolio_id, latest.ticker, latest.quantity, latest.updated_at
FROM held
CROSS JOIN LATERAL (
    SELECT position_id, portfolio_id, ticker, quantity, updated_at
    FROM positions_book
    WHERE portfolio_id = %(portfolio_id)s AND ticker = held.ticker
    ORDER BY updated_at DESC, position_id DESC
    LIMIT 1
) AS latest
ORDER BY latest.ticker
