-- Purpose: the specification's market data query, with the two predicates of the wider key; both ends included.
-- Parameters: source, bar_interval, tickers (array), start, end (timestamptz).
-- Locks: none.
SELECT *
FROM market_data
WHERE source = %(source)s
  AND bar_interval = %(bar_interval)s
  AND ticker = ANY (%(tickers)s)
  AND timestamp BETWEEN %(start)s AND %(end)s
ORDER BY ticker, timestamp
