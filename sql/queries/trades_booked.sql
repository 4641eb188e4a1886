-- Purpose: a portfolio's trade rows that were booked within a time, in booking order, with their ids and booking times.
-- Parameters: portfolio_id, after (null: from the first on), until (null: to the last).
-- Locks: none. Cost: the portfolio's rows.
SELECT
    id, coalesce(booked_at, exec_timestamp), portfolio_id, ticker, exec_timestamp, side, quantity, arrival_price, exec_price, slippage_bps, notional,
    notional_local, currency, fx_rate, kind, fees, execution_id, order_id, for_ticker, decision_price, note
FROM trade_execution_logs
WHERE portfolio_id = %(portfolio_id)s
  AND coalesce(booked_at, exec_timestamp) > coalesce(%(after)s::timestamptz, '-infinity')
  AND coalesce(booked_at, exec_timestamp) <= coalesce(%(until)s::timestamptz, 'infinity')
ORDER BY id
