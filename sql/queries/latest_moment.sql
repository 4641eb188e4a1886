-- Purpose: the newest booking time of some portfolios, in any book; null: nothing is booked.
-- Parameters: portfolio_ids (array).
-- Locks: none. Cost: three index entries per portfolio.
SELECT max(greatest(cash.timestamp, trade.booked_at, pnl.timestamp))
FROM unnest(%(portfolio_ids)s::text[]) AS asked (portfolio_id)
LEFT JOIN LATERAL (
    SELECT timestamp FROM cash_equity_book AS book
    WHERE book.portfolio_id = asked.portfolio_id ORDER BY timestamp DESC, id DESC LIMIT 1
) AS cash ON true
LEFT JOIN LATERAL (
    SELECT booked_at FROM trade_execution_logs AS book
    WHERE book.portfolio_id = asked.portfolio_id ORDER BY id DESC LIMIT 1
) AS trade ON true
LEFT JOIN LATERAL (
    SELECT timestamp FROM pnl_book AS book
    WHERE book.portfolio_id = asked.portfolio_id ORDER BY timestamp DESC, id DESC LIMIT 1
) AS pnl ON true
