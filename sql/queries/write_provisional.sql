-- Purpose: keep the bars that are being made of quotes, each in place of its ticker's row, unless that is newer.
-- Parameters: source, bar_interval; ticker, timestamp, open_price, high_price, low_price, close_price, volume,
-- day_volume, quoted_at, polled_at, is_written (arrays of one length).
-- Locks: the rows.
INSERT INTO market_data_provisional AS kept (
    source, bar_interval, ticker, timestamp, open_price, high_price, low_price, close_price, volume, day_volume,
    quoted_at, polled_at, is_written
)
SELECT %(source)s, %(bar_interval)s, made.*
FROM unnest(
    %(ticker)s::text[], %(timestamp)s::timestamptz[], %(open_price)s::float8[], %(high_price)s::float8[],
    %(low_price)s::float8[], %(close_price)s::float8[], %(volume)s::float8[], %(day_volume)s::float8[],
    %(quoted_at)s::timestamptz[], %(polled_at)s::timestamptz[], %(is_written)s::boolean[]
) AS made
ON CONFLICT (source, ticker, bar_interval) DO UPDATE
SET timestamp = excluded.timestamp, open_price = excluded.open_price, high_price = excluded.high_price,
    low_price = excluded.low_price, close_price = excluded.close_price, volume = excluded.volume,
    day_volume = excluded.day_volume, quoted_at = excluded.quoted_at, polled_at = excluded.polled_at,
    is_written = excluded.is_written
WHERE kept.quoted_at <= excluded.quoted_at
