-- Purpose: what each portfolio has: its cash (0 while nothing is booked), and the equity of its latest valuation, with the
-- moment of it (null: it was never valued).
-- Parameters: portfolio_ids (array).
-- Locks: none. Cost: two index entries per portfolio.
SELECT
    portfolio.portfolio_id, portfolio.mode, portfolio.base_currency, coalesce(cash.notional, 0),
    valuation.equity, valuation.timestamp
FROM portfolios AS portfolio
LEFT JOIN LATERAL (
    SELECT notional
    FROM cash_equity_book AS book
    WHERE book.portfolio_id = portfolio.portfolio_id
    ORDER BY timestamp DESC, id DESC
    LIMIT 1
) AS cash ON true
LEFT JOIN LATERAL (
    SELECT equity, timestamp
    FROM pnl_book AS book
    WHERE book.portfolio_id = portfolio.portfolio_id
    ORDER BY timestamp DESC, id DESC
    LIMIT 1
) AS valuation ON true
WHERE portfolio.portfolio_id = ANY (%(portfolio_ids)s::text[])
ORDER BY portfolio.portfolio_id
