-- Purpose: the specification's own form of the atomic state query (DISTINCT ON), the measure of portfolio_state.
-- Parameters: portfolio_id.
-- Locks: none. Cost: every position row the portfolio ever wrote.
WITH latest_cash AS (
    SELECT notional, currency, timestamp
    FROM cash_equity_book
    WHERE portfolio_id = %(portfolio_id)s
    ORDER BY timestamp DESC, id DESC
    LIMIT 1
), latest_positions AS (
    SELECT DISTINCT ON (ticker) ticker, quantity, updated_at
    FROM positions_book
    WHERE portfolio_id = %(portfolio_id)s
    ORDER BY ticker, updated_at DESC, position_id DESC
), positions_data AS (
    SELECT
        coalesce(array_agg(ticker::text ORDER BY ticker), '{}') AS tickers,
        coalesce(array_agg(quantity ORDER BY ticker), '{}') AS quantities,
        coalesce(array_agg(updated_at ORDER BY ticker), '{}') AS updated_at
    FROM latest_positions
)
SELECT
    cash_data.notional AS cash,
    cash_data.currency AS currency,
    cash_data.timestamp AS cash_timestamp,
    positions_data.tickers,
    positions_data.quantities,
    positions_data.updated_at,
    (SELECT coalesce(max(id), 0) FROM trade_execution_logs WHERE portfolio_id = %(portfolio_id)s) AS newest_trade
FROM positions_data
LEFT JOIN latest_cash AS cash_data ON true
