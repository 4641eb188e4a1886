-- Purpose: the latest row per ticker of positions_book, tickers in order; same answer as latest_positions_plain.
-- Parameters: portfolio_id.
-- Locks: none. Cost: one index entry per ticker ever held, whatever the history: each step of the recursion jumps to the
-- first index entry after the ticker before, which is the newest row of the next one.
WITH RECURSIVE latest AS (
    (
        SELECT position_id, portfolio_id, ticker, quantity, updated_at
        FROM positions_book
        WHERE portfolio_id = %(portfolio_id)s
        ORDER BY ticker, updated_at DESC, position_id DESC
        LIMIT 1
    )
    UNION ALL
    SELECT following.*
    FROM latest
    CROSS JOIN LATERAL (
        SELECT position_id, portfolio_id, ticker, quantity, updated_at
        FROM positions_book
        WHERE portfolio_id = %(portfolio_id)s AND ticker > latest.ticker
        ORDER BY ticker, updated_at DESC, position_id DESC
        LIMIT 1
    ) AS following
)
SELECT position_id, portfolio_id, ticker, quantity, updated_at
FROM latest
ORDER BY ticker
