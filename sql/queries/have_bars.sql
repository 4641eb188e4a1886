-- Purpose: whether any bar of these tickers is stored.
-- Parameters: source, bar_interval, tickers (array).
-- Locks: none. Cost: one index entry per ticker.
SELECT EXISTS (
    SELECT FROM unnest(%(tickers)s::text[]) AS asked (ticker)
    CROSS JOIN LATERAL (
        SELECT FROM market_data
        WHERE source = %(source)s AND ticker = asked.ticker AND bar_interval = %(bar_interval)s
        LIMIT 1
    ) AS stored
)
