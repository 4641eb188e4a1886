-- Purpose: from where to read so that some ticker has as many bars as asked for before a moment: the latest such start,
-- or nothing where no ticker has that many.
-- Parameters: source, bar_interval, tickers (array), before, bars (at least 1).
-- Locks: none. Cost: the asked number of index entries per ticker.
SELECT max(bar.timestamp)
FROM unnest(%(tickers)s::text[]) AS asked (ticker)
CROSS JOIN LATERAL (
    SELECT timestamp
    FROM market_data
    WHERE source = %(source)s
      AND ticker = asked.ticker
      AND bar_interval = %(bar_interval)s
      AND timestamp < %(before)s
    ORDER BY timestamp DESC
    LIMIT 1 OFFSET %(bars)s - 1
) AS bar
