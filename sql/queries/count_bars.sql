-- Purpose: how many bars of these tickers are stored.
-- Parameters: source, bar_interval, tickers (array).
-- Locks: none. Cost: one index entry per bar.
SELECT count(*)
FROM market_data
WHERE source = %(source)s AND bar_interval = %(bar_interval)s AND ticker = ANY (%(tickers)s)
