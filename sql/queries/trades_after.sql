-- Purpose: a portfolio's trade rows in booking order, from after a known one on.
-- Parameters: portfolio_id, after (id), rows (at most so many).
-- Locks: none. Cost: the rows.
SELECT
    id, portfolio_id, ticker, exec_timestamp, side, quantity, arrival_price, exec_price, slippage_bps, notional,
    notional_local, currency, fx_rate, kind, fees, execution_id, order_id, for_ticker, decision_price, note
FROM trade_execution_logs
WHERE portfolio_id = %(portfolio_id)s AND id > %(after)s
ORDER BY id
LIMIT %(rows)s
