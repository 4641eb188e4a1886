-- Purpose: from where to read so that a ticker has as many bars as asked for up to a moment; a ticker that has fewer is
-- left out.
-- Parameters: source, bar_interval, tickers (array), at (UTC, without zone), bars (at least 1).
-- Locks: none. Cost: the asked number of index entries per ticker.
SELECT asked.ticker, bar.timestamp AT TIME ZONE 'UTC'
FROM unnest(%(tickers)s::text[]) AS asked (ticker)
CROSS JOIN LATERAL (
    SELECT timestamp
    FROM market_data
    WHERE source = %(source)s
      AND ticker = asked.ticker
      AND bar_interval = %(bar_interval)s
      AND timestamp <= %(at)s::timestamp AT TIME ZONE 'UTC'
    ORDER BY timestamp DESC
    LIMIT 1 OFFSET %(bars)s - 1
) AS bar
