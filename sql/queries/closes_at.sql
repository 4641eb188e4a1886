-- Purpose: the newest closes of some tickers up to a bar, and when these bars are, from every source and interval that has any.
-- Parameters: tickers (array), until (the bar's timestamp).
-- Locks: none. Cost: an index entry per ticker, source and interval.
SELECT version.source, version.bar_interval, version.ticker, bar.close_price, bar.timestamp
FROM market_data_version AS version
CROSS JOIN LATERAL (
    SELECT close_price, timestamp
    FROM market_data
    WHERE source = version.source
      AND ticker = version.ticker
      AND bar_interval = version.bar_interval
      AND timestamp <= %(until)s
    ORDER BY timestamp DESC
    LIMIT 1
) AS bar
WHERE version.ticker = ANY (%(tickers)s::text[])
ORDER BY version.source, version.bar_interval, version.ticker
