-- Purpose: the correction path: stored bars take the values of the staged bars of the same key, where they differ. A
-- trigger keeps what they were.
-- Parameters: source, bar_interval, tickers (array; staged codes count from 1).
-- Locks: the rows that change, and the market_data_version row of each of their tickers, until the transaction ends.
-- Cost: one index lookup per staged bar, and one per row that changes. The array keeps the planner, which knows nothing
-- of the staged rows, from reading all of market_data; see differing_bars.
WITH differing AS MATERIALIZED (
    SELECT
        stored.id,
        trim_scale(staged.open_price * 0.000000001) AS open_price,
        trim_scale(staged.high_price * 0.000000001) AS high_price,
        trim_scale(staged.low_price * 0.000000001) AS low_price,
        trim_scale(staged.close_price * 0.000000001) AS close_price,
        staged.volume
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
)
UPDATE market_data AS stored
SET open_price = differing.open_price, high_price = differing.high_price, low_price = differing.low_price,
    close_price = differing.close_price, volume = differing.volume
FROM differing
WHERE stored.id = differing.id AND stored.id = ANY (ARRAY(SELECT id FROM differing))
