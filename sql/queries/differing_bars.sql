-- Purpose: staged bars that differ from the stored bar of the same key: how many, and the first few with both values.
-- Parameters: source, bar_interval, tickers (array), examples (how many).
-- Locks: none. Cost: one index lookup per staged bar. OFFSET 0 keeps the planner, which knows nothing yet of rows that
-- were loaded a moment ago, from joining all bars of one timestamp with each other.
WITH differing AS (
    SELECT
        asked.ticker, staged.timestamp,
        stored.open_price, stored.high_price, stored.low_price, stored.close_price, stored.volume,
        trim_scale(staged.open_price * 0.000000001) AS offered_open,
        trim_scale(staged.high_price * 0.000000001) AS offered_high,
        trim_scale(staged.low_price * 0.000000001) AS offered_low,
        trim_scale(staged.close_price * 0.000000001) AS offered_close,
        staged.volume AS offered_volume
    FROM staged_bars AS staged
    JOIN unnest(%(tickers)s::text[]) WITH ORDINALITY AS asked (ticker, code) ON asked.code = staged.code
    CROSS JOIN LATERAL (
        SELECT open_price, high_price, low_price, close_price, volume
        FROM market_data
        WHERE source = %(source)s
          AND ticker = asked.ticker
          AND bar_interval = %(bar_interval)s
          AND timestamp = staged.timestamp
        OFFSET 0
    ) AS stored
    WHERE (
        stored.open_price * 1000000000, stored.high_price * 1000000000, stored.low_price * 1000000000,
        stored.close_price * 1000000000, stored.volume
    ) <> (staged.open_price, staged.high_price, staged.low_price, staged.close_price, staged.volume)
)
SELECT count(*) OVER (), differing.*
FROM differing
ORDER BY ticker, timestamp
LIMIT %(examples)s
