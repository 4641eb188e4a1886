-- Purpose: every ticker and interval of which something was loaded, what counts as loaded of it (NULL where nothing
-- does), and what instruments knows of the ticker.
-- Parameters: source, bar_interval (NULL: all), tickers (array; empty: all).
-- Locks: none.
SELECT source, ticker, bar_interval, covered.start_date, covered.end_date, instrument.currency, instrument.exchange
FROM market_data_coverage AS covered
FULL JOIN market_data_version AS changed USING (source, ticker, bar_interval)
LEFT JOIN instruments AS instrument USING (ticker)
WHERE (%(source)s::text IS NULL OR source = %(source)s)
  AND (%(bar_interval)s::text IS NULL OR bar_interval = %(bar_interval)s)
  AND (cardinality(%(tickers)s::text[]) = 0 OR ticker = ANY (%(tickers)s))
ORDER BY source, bar_interval, ticker
