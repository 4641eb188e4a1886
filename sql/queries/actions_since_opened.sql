-- Purpose: splits and dividends of these tickers since a portfolio's first booking, in the order in which they act: on
-- one day splits come first. Nothing where nothing is booked.
-- Parameters: portfolio_id, source, tickers (array).
-- Locks: none. Cost: an index entry per ticker, and the actions.
SELECT ticker, ex_date, kind, value
FROM corporate_actions
WHERE source = %(source)s AND ticker = ANY (%(tickers)s) AND NOT is_ignored
    AND ex_date >= (
        SELECT (exec_timestamp AT TIME ZONE 'UTC')::date
        FROM trade_execution_logs
        WHERE portfolio_id = %(portfolio_id)s
        ORDER BY id
        LIMIT 1
    )
ORDER BY ex_date, kind DESC, ticker
