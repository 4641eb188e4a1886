-- Purpose: the correction path: stored bars take the values of the staged bars of the same key, where they differ; how
-- many did, and the first few with what they were and are. A trigger keeps what they were.
-- Parameters: source, bar_interval, tickers (array; staged codes count from 1), examples (how many).
-- Locks: the rows that change, and the market_data_version row of each of their tickers, until the transaction ends.
-- Cost: one index lookup per staged bar, and one per row that changes. OFFSET 0 and the array keep the planner, which
-- knows nothing of rows that were staged a moment ago, from joining all bars of one timestamp with each other, and from
-- reading all of market_data.
WITH differing AS MATERIALIZED (
    SELECT
        asked.ticker, staged.timestamp, stored.*,
        trim_scale(staged.open_price * 0.000000001) AS offered_open,
        trim_scale(staged.high_price * 0.000000001) AS offered_high,
        trim_scale(staged.low_price * 0.000000001) AS offered_low,
        trim_scale(staged.close_price * 0.000000001) AS offered_close,
        staged.volume AS offered_volume
    FROM staged_bars AS staged
    JOIN unnest(%(tickers)s::text[]) WITH ORDINALITY AS asked (ticker, code) ON asked.code = staged.code
    CROSS JOIN LATERAL (
        SELECT id, open_price, high_price, low_price, close_price, volume
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
),
corrected AS (
    UPDATE market_data AS bar
    SET open_price = offered_open, high_price = offered_high, low_price = offered_low, close_price = offered_close,
        volume = offered_volume
    FROM differing
    WHERE bar.id = differing.id AND bar.id = ANY (ARRAY(SELECT id FROM differing))
    RETURNING bar.id
)
SELECT
    (SELECT count(*) FROM corrected),
    ticker, timestamp, open_price, high_price, low_price, close_price, volume,
    offered_open, offered_high, offered_low, offered_close, offered_volume
FROM differing
ORDER BY ticker, timestamp
LIMIT %(examples)s
