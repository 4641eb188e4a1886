-- Purpose: of tickers whose staged bars are all that there are, the stored bars that are not among them go. A trigger
-- keeps what they were.
-- Parameters: source, bar_interval, tickers, codes (arrays of one length: names, and what they are staged under).
-- Locks: the rows that go, and the market_data_version row of each of their tickers, until the transaction ends.
-- Cost: reads all bars of these tickers.
DELETE FROM market_data AS stored
USING unnest(%(tickers)s::text[], %(codes)s::int4[]) AS asked (ticker, code)
WHERE stored.source = %(source)s
  AND stored.ticker = asked.ticker
  AND stored.bar_interval = %(bar_interval)s
  AND NOT EXISTS (
      SELECT FROM staged_bars AS staged WHERE staged.code = asked.code AND staged.timestamp = stored.timestamp
  )
