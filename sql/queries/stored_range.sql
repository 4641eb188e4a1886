-- Purpose: first and last bar of each ticker that has any.
-- Parameters: source, bar_interval, tickers (array).
-- Locks: none. Cost: two index entries per ticker.
SELECT asked.ticker, first.timestamp, last.timestamp
FROM unnest(%(tickers)s::text[]) WITH ORDINALITY AS asked (ticker, code)
CROSS JOIN LATERAL (
    SELECT timestamp FROM market_data
    WHERE source = %(source)s AND ticker = asked.ticker AND bar_interval = %(bar_interval)s
    ORDER BY timestamp LIMIT 1
) AS first
CROSS JOIN LATERAL (
    SELECT timestamp FROM market_data
    WHERE source = %(source)s AND ticker = asked.ticker AND bar_interval = %(bar_interval)s
    ORDER BY timestamp DESC LIMIT 1
) AS last
ORDER BY asked.code
