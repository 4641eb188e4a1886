-- Purpose: put bars into quarantine; one that is there already with the same values is seen again.
-- Parameters: source, bar_interval, code; arrays of one length: tickers, times, opens, highs, lows, closes, volumes.
-- Locks: the rows. Cost: one index lookup per bar.
INSERT INTO market_data_quarantine AS q (
    source, ticker, bar_interval, timestamp, open_price, high_price, low_price, close_price, volume, code
)
SELECT DISTINCT %(source)s, ticker, %(bar_interval)s, timestamp, open, high, low, close, volume, %(code)s
FROM unnest(
    %(tickers)s::text[], %(times)s::timestamptz[], %(opens)s::float8[], %(highs)s::float8[], %(lows)s::float8[],
    %(closes)s::float8[], %(volumes)s::float8[]
) AS bar (ticker, timestamp, open, high, low, close, volume)
ON CONFLICT ON CONSTRAINT market_data_quarantine_key DO UPDATE
SET code = excluded.code, seen_at = clock_timestamp()
