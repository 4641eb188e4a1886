-- Purpose: bars of some tickers, each from a moment of its own, packed into one bytea per ticker: big-endian int64
-- microseconds since 2000-01-01 UTC, four prices and the volume as float64, int64 number of the transaction that wrote
-- the bar. Of the bars between another moment and that one, only their count and the sum of those numbers: they tell
-- whether what a cache holds of them is still true.
-- Parameters: source, bar_interval, tickers, first, since (arrays of one length; times UTC, without zone), until.
-- Locks: none. Cost: one index range per ticker; no row is sent alone.
SELECT before.count, before.marks, bars.packed
FROM unnest(%(tickers)s::text[], %(first)s::timestamp[], %(since)s::timestamp[])
    WITH ORDINALITY AS asked (ticker, first, since, number)
CROSS JOIN LATERAL (
    SELECT count(*) AS count, coalesce(sum(xmin::text::bigint), 0)::bigint AS marks
    FROM market_data
    WHERE source = %(source)s
      AND ticker = asked.ticker
      AND bar_interval = %(bar_interval)s
      AND timestamp >= asked.first AT TIME ZONE 'UTC'
      AND timestamp < asked.since AT TIME ZONE 'UTC'
) AS before
CROSS JOIN LATERAL (
    SELECT string_agg(
        timestamptz_send(bar.timestamp)
        || float8send(bar.open_price::float8)
        || float8send(bar.high_price::float8)
        || float8send(bar.low_price::float8)
        || float8send(bar.close_price::float8)
        || float8send(bar.volume::float8)
        || int8send(bar.mark),
        NULL
    ) AS packed
    FROM (
        SELECT timestamp, open_price, high_price, low_price, close_price, volume, xmin::text::bigint AS mark
        FROM market_data
        WHERE source = %(source)s
          AND ticker = asked.ticker
          AND bar_interval = %(bar_interval)s
          AND timestamp >= asked.since AT TIME ZONE 'UTC'
          AND timestamp <= %(until)s::timestamp AT TIME ZONE 'UTC'
        ORDER BY timestamp
    ) AS bar
) AS bars
ORDER BY asked.number
