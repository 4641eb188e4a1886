-- Purpose: per portfolio its trades, what they add up to, and what the specification's queries find as the latest: cash,
-- and the tickers whose latest quantity differs from the sum (text: ticker, sum, latest).
-- Parameters: portfolio_ids (array).
-- Locks: none. Cost: every trade of these portfolios, and one index entry per ticker.
WITH moved AS (
    SELECT
        portfolio_id,
        ticker,
        count(*) AS trades,
        sum(CASE
            WHEN right(ticker, 5) = '_CASH' THEN CASE side WHEN 'BUY' THEN notional ELSE -notional END
            WHEN kind = 'trade' THEN CASE side WHEN 'BUY' THEN -notional ELSE notional END - fees
            ELSE 0
        END) AS cash,
        sum(CASE side WHEN 'BUY' THEN quantity ELSE -quantity END) FILTER (WHERE right(ticker, 5) <> '_CASH') AS held
    FROM trade_execution_logs
    WHERE portfolio_id = ANY (%(portfolio_ids)s::text[])
    GROUP BY portfolio_id, ticker
), compared AS (
    SELECT moved.*, latest.quantity
    FROM moved
    LEFT JOIN LATERAL (
        SELECT quantity
        FROM positions_book
        WHERE portfolio_id = moved.portfolio_id AND ticker = moved.ticker
        ORDER BY updated_at DESC, position_id DESC
        LIMIT 1
    ) AS latest ON true
), summed AS (
    SELECT
        portfolio_id,
        sum(trades)::bigint AS trades,
        sum(cash) AS cash,
        count(*) FILTER (WHERE held <> 0)::bigint AS positions,
        min(ticker || ': ' || held || ', ' || coalesce(quantity::text, 'none'))
            FILTER (WHERE held IS NOT NULL AND held <> coalesce(quantity, 0)) AS differs
    FROM compared
    GROUP BY portfolio_id
)
SELECT
    portfolio.portfolio_id,
    coalesce(summed.trades, 0),
    coalesce(summed.cash, 0),
    coalesce(latest.notional, 0),
    coalesce(summed.positions, 0),
    summed.differs,
    portfolio.base_currency
FROM portfolios AS portfolio
LEFT JOIN summed USING (portfolio_id)
LEFT JOIN LATERAL (
    SELECT notional
    FROM cash_equity_book
    WHERE portfolio_id = portfolio.portfolio_id
    ORDER BY timestamp DESC, id DESC
    LIMIT 1
) AS latest ON true
WHERE portfolio.portfolio_id = ANY (%(portfolio_ids)s::text[])
ORDER BY portfolio.portfolio_id
