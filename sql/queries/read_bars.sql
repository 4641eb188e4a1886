-- Purpose: bars in bulk: one row per ticker, each column of its bars packed into one bytea of big-endian int64:
-- microseconds since 2000-01-01 UTC, four prices times 1e9, volume. A ticker without bars has nulls.
-- Parameters: source, bar_interval, tickers (array), start, end (both included). To be run inside COPY … TO (BINARY).
-- Locks: none. Cost: one index range per ticker; no value is turned into text, no row is sent alone.
SELECT
    asked.code::int8,
    packed.*
FROM unnest(%(tickers)s::text[]) WITH ORDINALITY AS asked (ticker, code)
CROSS JOIN LATERAL (
    SELECT
        string_agg(timestamptz_send(bar.timestamp), NULL),
        string_agg(int8send((bar.open_price * 1000000000)::int8), NULL),
        string_agg(int8send((bar.high_price * 1000000000)::int8), NULL),
        string_agg(int8send((bar.low_price * 1000000000)::int8), NULL),
        string_agg(int8send((bar.close_price * 1000000000)::int8), NULL),
        string_agg(int8send(bar.volume), NULL)
    FROM (
        SELECT timestamp, open_price, high_price, low_price, close_price, volume
        FROM market_data
        WHERE source = %(source)s
          AND ticker = asked.ticker
          AND bar_interval = %(bar_interval)s
          AND timestamp BETWEEN %(start)s AND %(end)s
        ORDER BY timestamp
    ) AS bar
) AS packed
