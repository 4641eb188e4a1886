-- Purpose: staged bars that differ from the stored bar of the same key: how many, and the first few with both values.
-- Parameters: source, bar_interval, tickers (array), examples (how many).
-- Locks: none.
WITH conflicting AS (
    SELECT
        stored.ticker, stored.timestamp,
        stored.open_price, stored.high_price, stored.low_price, stored.close_price, stored.volume,
        trim_scale(staged.open_price * 0.000000001) AS offered_open,
        trim_scale(staged.high_price * 0.000000001) AS offered_high,
        trim_scale(staged.low_price * 0.000000001) AS offered_low,
        trim_scale(staged.close_price * 0.000000001) AS offered_close,
        staged.volume AS offered_volume
    FROM staged_bars AS staged
    JOIN unnest(%(tickers)s::text[]) WITH ORDINALITY AS asked (ticker, code) ON asked.code = staged.code
    JOIN market_data AS stored
        ON stored.source = %(source)s
        AND stored.ticker = asked.ticker
        AND stored.bar_interval = %(bar_interval)s
        AND stored.timestamp = staged.timestamp
    WHERE (
        stored.open_price * 1000000000, stored.high_price * 1000000000, stored.low_price * 1000000000,
        stored.close_price * 1000000000, stored.volume
    ) <> (staged.open_price, staged.high_price, staged.low_price, staged.close_price, staged.volume)
)
SELECT count(*) OVER (), conflicting.*
FROM conflicting
ORDER BY ticker, timestamp
LIMIT %(examples)s
