-- Purpose: the newest moment that some portfolios have lived through: the newest booking time in any book, and the newest
-- matching at the paper broker, which may not be booked yet; null: there is none.
-- Parameters: portfolio_ids (array).
-- Locks: none. Cost: three index entries per portfolio, and all orders that its paper account ever had.
SELECT max(greatest(cash.timestamp, trade.booked_at, pnl.timestamp, matched.matched_at))
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
LEFT JOIN LATERAL (
    SELECT max(paper_orders.matched_at) AS matched_at
    FROM paper_orders
    JOIN portfolios ON portfolios.account = paper_orders.account
    WHERE portfolios.portfolio_id = asked.portfolio_id
) AS matched ON true
