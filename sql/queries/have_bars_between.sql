-- Purpose: whether any bar of some tickers is stored, each within times of its own.
-- Parameters: source, bar_interval, tickers, first, last (arrays of one length; both ends included).
-- Locks: none. Cost: one index entry per ticker.
SELECT EXISTS (
    SELECT FROM unnest(%(tickers)s::text[], %(first)s::timestamptz[], %(last)s::timestamptz[])
        AS asked (ticker, first, last)
    CROSS JOIN LATERAL (
        SELECT FROM market_data
        WHERE source = %(source)s AND ticker = asked.ticker AND bar_interval = %(bar_interval)s
          AND timestamp BETWEEN asked.first AND asked.last
        LIMIT 1
    ) AS stored
)
