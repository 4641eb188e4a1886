-- Purpose: the trades of a portfolio in booking order, to compare with a backtest's.
-- Parameters: portfolio_id.
-- Locks: none.
SELECT ticker::text, exec_timestamp, side::text, quantity, exec_price, notional, fees, currency::text, fx_rate
FROM trade_execution_logs
WHERE portfolio_id = %(portfolio_id)s AND kind = 'trade'
ORDER BY id;
