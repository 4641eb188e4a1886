-- Purpose: bars in quarantine under some codes, in order of ticker and time.
-- Parameters: source, bar_interval, tickers (array), codes (array).
-- Locks: none.
SELECT ticker, timestamp, open_price, high_price, low_price, close_price, volume, code
FROM market_data_quarantine
WHERE source = %(source)s AND bar_interval = %(bar_interval)s AND ticker = ANY (%(tickers)s) AND code = ANY (%(codes)s)
  AND isfinite(timestamp)
ORDER BY ticker, timestamp
