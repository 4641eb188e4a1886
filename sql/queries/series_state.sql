-- Purpose: what tells whether the bars of some tickers are still those that were read: it changes with every change.
-- Parameters: source, bar_interval, tickers (array).
-- Locks: none.
--
-- The version alone would not do: a restored backup, changed once, has the version that another change had before.
SELECT ticker, version, changed_at::text, xmin::text, tableoid::bigint
FROM market_data_version
WHERE source = %(source)s AND bar_interval = %(bar_interval)s AND ticker = ANY (%(tickers)s)
ORDER BY ticker
