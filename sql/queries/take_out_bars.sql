-- Purpose: take some bars of a ticker out of market_data, as a quality policy says.
-- Parameters: source, ticker, bar_interval, times (array).
-- Locks: the rows, and the ticker's row of market_data_version, until the transaction ends.
DELETE FROM market_data
WHERE source = %(source)s AND ticker = %(ticker)s AND bar_interval = %(bar_interval)s
  AND timestamp = ANY (%(times)s::timestamptz[])
