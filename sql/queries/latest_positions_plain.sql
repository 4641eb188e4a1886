-- Purpose: the specification's own form of latest_positions (with the tie-break), kept as the measure of the fast one.
-- Parameters: portfolio_id.
-- Locks: none. Cost: every row the portfolio ever wrote.
SELECT DISTINCT ON (ticker)
    position_id, portfolio_id, ticker, quantity, updated_at
FROM positions_book
WHERE portfolio_id = %(portfolio_id)s
ORDER BY ticker, updated_at DESC, position_id DESC
