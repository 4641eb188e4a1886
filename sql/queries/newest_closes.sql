-- Purpose: the newest bars of some tickers up to a moment, of every source and interval that has any, oldest first:
-- time (UTC, without zone) and close.
-- Parameters: tickers (array), until (of the bars' starts), bars (at most so many of each).
-- Locks: none. Cost: as many rows as asked for, per ticker, source and interval.
SELECT version.source, version.ticker, version.bar_interval, bar.timestamp AT TIME ZONE 'UTC', bar.close_price::float8
FROM market_data_version AS version
CROSS JOIN LATERAL (
    SELECT timestamp, close_price
    FROM market_data
    WHERE source = version.source
      AND ticker = version.ticker
      AND bar_interval = version.bar_interval
      AND timestamp <= %(until)s
    ORDER BY timestamp DESC
    LIMIT %(bars)s
) AS bar
WHERE version.ticker = ANY (%(tickers)s::text[])
ORDER BY version.source, version.ticker, version.bar_interval, bar.timestamp
