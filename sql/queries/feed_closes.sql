-- Purpose: the first few bars from a moment on, once for each of some tickers and moments: time and close.
-- Parameters: source, bar_interval, numbers, tickers, since (arrays of one length; times UTC, without zone), until, bars.
-- Locks: none. Cost: as many rows as asked for, per pair.
SELECT asked.number, bar.timestamp AT TIME ZONE 'UTC', bar.close_price::float8
FROM unnest(%(numbers)s::int[], %(tickers)s::text[], %(since)s::timestamp[]) AS asked (number, ticker, since)
CROSS JOIN LATERAL (
    SELECT timestamp, close_price
    FROM market_data
    WHERE source = %(source)s
      AND ticker = asked.ticker
      AND bar_interval = %(bar_interval)s
      AND timestamp >= asked.since AT TIME ZONE 'UTC'
      AND timestamp <= %(until)s::timestamp AT TIME ZONE 'UTC'
    ORDER BY timestamp
    LIMIT %(bars)s
) AS bar
ORDER BY asked.number, bar.timestamp
