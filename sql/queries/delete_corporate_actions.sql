-- Purpose: make room for all splits and dividends that a source now states, in the same transaction.
-- Parameters: source, tickers (array).
-- Locks: the rows, until the transaction ends.
DELETE FROM corporate_actions
WHERE source = %(source)s AND ticker = ANY (%(tickers)s)
