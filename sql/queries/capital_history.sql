-- Purpose: the newest deposits, withdrawals and transfers of a portfolio, newest first, with the cash that each left and,
-- of a transfer, the portfolio at its other end.
-- Parameters: portfolio_id, rows (at most so many).
-- Locks: none. Cost: the portfolio's trade rows since the oldest that is shown, all where there are fewer.
SELECT
    trade.id, coalesce(trade.booked_at, trade.exec_timestamp), trade.exec_timestamp, trade.kind::text,
    trade.execution_id::text, other.portfolio_id::text, trade.side::text, trade.notional, trade.notional_local,
    trade.currency::text, trade.fx_rate, cash.notional, trade.note::text
FROM trade_execution_logs AS trade
LEFT JOIN cash_equity_book AS cash ON cash.trade_id = trade.id
LEFT JOIN trade_execution_logs AS other
    ON trade.kind = 'transfer'
    AND other.execution_id = CASE right(trade.execution_id, 4)
        WHEN '#out' THEN left(trade.execution_id, -4) || '#in'
        ELSE left(trade.execution_id, -3) || '#out'
    END
WHERE trade.portfolio_id = %(portfolio_id)s AND trade.kind IN ('deposit', 'withdrawal', 'transfer')
ORDER BY trade.id DESC
LIMIT %(rows)s
