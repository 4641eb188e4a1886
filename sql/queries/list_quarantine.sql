-- Purpose: what is in quarantine, by source, ticker, interval and code.
-- Parameters: source (NULL: all), bar_interval (NULL: all), tickers (array; empty: all).
-- Locks: none. Cost: all rows in quarantine.
SELECT source, ticker, bar_interval, code, count(*),
       min(timestamp) FILTER (WHERE isfinite(timestamp)), max(timestamp) FILTER (WHERE isfinite(timestamp)),
       max(seen_at)
FROM market_data_quarantine
WHERE (%(source)s::text IS NULL OR source = %(source)s)
  AND (%(bar_interval)s::text IS NULL OR bar_interval = %(bar_interval)s)
  AND (cardinality(%(tickers)s::text[]) = 0 OR ticker = ANY (%(tickers)s))
GROUP BY source, ticker, bar_interval, code
ORDER BY source, ticker, bar_interval, code
