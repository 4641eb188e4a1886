-- Purpose: what of these tickers has been loaded, what was wrong with it, and when their splits and dividends were read.
-- Parameters: source, bar_interval, tickers (array).
-- Locks: none.
SELECT ticker, start_date, end_date, content_hash, findings, actions_read_at
FROM market_data_coverage
WHERE source = %(source)s AND bar_interval = %(bar_interval)s AND ticker = ANY (%(tickers)s)
ORDER BY ticker
