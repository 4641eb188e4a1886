-- Purpose: cash and positions of a portfolio as they were at a booking time; a row per ticker held then, and one with
-- the cash (no ticker).
-- Parameters: portfolio_id, until.
-- Locks: none. Cost: every position row that the portfolio wrote up to then.
(
    SELECT NULL::text AS ticker, notional AS quantity
    FROM cash_equity_book
    WHERE portfolio_id = %(portfolio_id)s AND timestamp <= %(until)s
    ORDER BY timestamp DESC, id DESC
    LIMIT 1
)
UNION ALL
SELECT ticker, quantity
FROM (
    SELECT DISTINCT ON (ticker) ticker, quantity
    FROM positions_book
    WHERE portfolio_id = %(portfolio_id)s AND updated_at <= %(until)s
    ORDER BY ticker, updated_at DESC, position_id DESC
) AS held
WHERE quantity <> 0
