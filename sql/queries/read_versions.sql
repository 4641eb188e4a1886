-- Purpose: the version of each ticker's bars, which grows with every change; a ticker that never had bars has none.
-- Parameters: source, bar_interval, tickers (array).
-- Locks: none.
SELECT ticker, version
FROM market_data_version
WHERE source = %(source)s AND bar_interval = %(bar_interval)s AND ticker = ANY (%(tickers)s)
ORDER BY ticker
