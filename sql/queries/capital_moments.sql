-- Purpose: the moment at which money is moved now, per portfolio: the database's clock; of one that lives on a simulated
-- clock, its newest booking. Such a one has been booked in before it was opened.
-- Parameters: portfolio_ids (array).
-- Locks: none. Cost: three index entries per portfolio.
SELECT
    portfolio.portfolio_id,
    CASE WHEN newest.moment < portfolio.opened_at THEN newest.moment ELSE clock_timestamp() END,
    coalesce(newest.moment < portfolio.opened_at, false)
FROM portfolios AS portfolio
LEFT JOIN LATERAL (
    SELECT timestamp FROM cash_equity_book AS book
    WHERE book.portfolio_id = portfolio.portfolio_id ORDER BY timestamp DESC, id DESC LIMIT 1
) AS cash ON true
LEFT JOIN LATERAL (
    SELECT booked_at FROM trade_execution_logs AS book
    WHERE book.portfolio_id = portfolio.portfolio_id ORDER BY id DESC LIMIT 1
) AS trade ON true
LEFT JOIN LATERAL (
    SELECT timestamp FROM pnl_book AS book
    WHERE book.portfolio_id = portfolio.portfolio_id ORDER BY timestamp DESC, id DESC LIMIT 1
) AS pnl ON true
CROSS JOIN LATERAL (SELECT greatest(cash.timestamp, trade.booked_at, pnl.timestamp) AS moment) AS newest
WHERE portfolio.portfolio_id = ANY (%(portfolio_ids)s::text[])
