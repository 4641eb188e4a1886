-- Purpose: the trade rows that hold these idempotency keys.
-- Parameters: keys (array).
-- Locks: none. Cost: one index entry per key.
SELECT
    id, portfolio_id, ticker, exec_timestamp, side, quantity, arrival_price, exec_price, slippage_bps, notional,
    notional_local, currency, fx_rate, kind, fees, execution_id, order_id, for_ticker, decision_price, note
FROM trade_execution_logs
WHERE execution_id = ANY (%(keys)s::text[])
