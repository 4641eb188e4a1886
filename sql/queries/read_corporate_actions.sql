-- Purpose: splits and dividends of these tickers, in order of ticker, ex-date, kind.
-- Parameters: source, tickers (array).
-- Locks: none.
SELECT ticker, ex_date, kind, value
FROM corporate_actions
WHERE source = %(source)s AND ticker = ANY (%(tickers)s) AND NOT is_ignored
ORDER BY ticker, ex_date, kind
