-- Purpose: how many shares of a ticker a portfolio held at a moment of business time, before what was filled at it and
-- after a split of it; and whether shares have come or gone at that moment or later, other than by splits.
-- Parameters: portfolio_id, ticker, at.
-- Locks: none. Cost: the portfolio's rows of that ticker.
SELECT
    coalesce(sum(CASE side WHEN 'BUY' THEN quantity ELSE -quantity END)
        FILTER (WHERE exec_timestamp < %(at)s OR (exec_timestamp = %(at)s AND kind = 'split')), 0),
    coalesce(bool_or(kind <> 'split' AND exec_timestamp >= %(at)s), false)
FROM trade_execution_logs
WHERE portfolio_id = %(portfolio_id)s AND ticker = %(ticker)s
