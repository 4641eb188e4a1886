-- Purpose: add the staged bars, where none is stored of their tickers and times; costs half of insert_staged_bars, which
-- looks for each key before it inserts. Fails where another transaction has added one meanwhile.
-- Parameters: source, bar_interval, tickers (array; staged codes count from 1).
-- Locks: the new rows, and the market_data_version row of each ticker until the transaction ends.
INSERT INTO market_data (
    ticker, timestamp, open_price, high_price, low_price, close_price, volume, bar_interval, source
)
SELECT
    asked.ticker,
    staged.timestamp,
    trim_scale(staged.open_price * 0.000000001),
    trim_scale(staged.high_price * 0.000000001),
    trim_scale(staged.low_price * 0.000000001),
    trim_scale(staged.close_price * 0.000000001),
    staged.volume,
    %(bar_interval)s,
    %(source)s
FROM staged_bars AS staged
JOIN unnest(%(tickers)s::text[]) WITH ORDINALITY AS asked (ticker, code) ON asked.code = staged.code
