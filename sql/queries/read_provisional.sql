-- Purpose: the bars that are being made of quotes, to go on with them.
-- Parameters: source, bar_interval.
-- Locks: the rows, until the transaction ends: another ingestor of the same quotes waits.
SELECT
    ticker, timestamp, open_price, high_price, low_price, close_price, volume, day_volume, quoted_at, polled_at,
    is_written
FROM market_data_provisional
WHERE source = %(source)s AND bar_interval = %(bar_interval)s
ORDER BY ticker
FOR UPDATE
