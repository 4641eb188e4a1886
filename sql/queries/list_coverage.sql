-- Purpose: what has been loaded, by source, ticker and interval.
-- Parameters: source (NULL: all), tickers (array; empty: all).
-- Locks: none.
SELECT source, ticker, bar_interval, start_date, end_date, updated_at
FROM market_data_coverage
WHERE (%(source)s::text IS NULL OR source = %(source)s)
  AND (cardinality(%(tickers)s::text[]) = 0 OR ticker = ANY (%(tickers)s))
ORDER BY source, ticker, bar_interval
