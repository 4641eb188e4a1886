-- Purpose: take some bars of a ticker out of market_data, as a quality policy says, where they still are as they were
-- judged.
-- Parameters: source, ticker, bar_interval; times, open, high, low, close, volume (arrays of one length).
-- Locks: the rows, and the ticker's row of market_data_version, until the transaction ends.
DELETE FROM market_data AS stored
USING unnest(
    %(times)s::timestamptz[], %(open)s::float8[], %(high)s::float8[], %(low)s::float8[], %(close)s::float8[],
    %(volume)s::float8[]
) AS judged (timestamp, open, high, low, close, volume)
WHERE stored.source = %(source)s AND stored.ticker = %(ticker)s AND stored.bar_interval = %(bar_interval)s
  AND stored.timestamp = judged.timestamp
  AND (
      stored.open_price::float8, stored.high_price::float8, stored.low_price::float8, stored.close_price::float8,
      stored.volume::float8
  ) = (judged.open, judged.high, judged.low, judged.close, judged.volume)
