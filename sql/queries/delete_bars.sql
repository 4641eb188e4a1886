-- Purpose: the correction path of files: a changed file is stored anew, in the same transaction.
-- Parameters: source, bar_interval, tickers (array).
-- Locks: the rows, and the market_data_version row of each ticker, until the transaction ends.
DELETE FROM market_data
WHERE source = %(source)s AND bar_interval = %(bar_interval)s AND ticker = ANY (%(tickers)s)
