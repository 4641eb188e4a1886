-- Purpose: what of these tickers has been loaded, and what was wrong with it.
-- Parameters: source, bar_interval, tickers (array).
-- Locks: none.
SELECT ticker, start_date, end_date, content_hash, findings
FROM market_data_coverage
WHERE source = %(source)s AND bar_interval = %(bar_interval)s AND ticker = ANY (%(tickers)s)
ORDER BY ticker
