-- Purpose: the atomic state query: cash and positions of one moment, in one row. No cash row yet: nulls.
-- Parameters: portfolio_id.
-- Locks: none (one statement sees one snapshot). Cost: as latest_cash and latest_positions, which says how it works.
-- Arrays, not JSON: numeric stays exact. All arrays are in ticker order.
WITH RECURSIVE latest_cash AS (
    SELECT notional, currency, timestamp
    FROM cash_equity_book
    WHERE portfolio_id = %(portfolio_id)s
    ORDER BY timestamp DESC, id DESC
    LIMIT 1
), latest_positions AS (
    (
        SELECT ticker, quantity, updated_at
        FROM positions_book
        WHERE portfolio_id = %(portfolio_id)s
        ORDER BY ticker, updated_at DESC, position_id DESC
        LIMIT 1
    )
    UNION ALL
    SELECT following.*
    FROM latest_positions
    CROSS JOIN LATERAL (
        SELECT ticker, quantity, updated_at
        FROM positions_book
        WHERE portfolio_id = %(portfolio_id)s AND ticker > latest_positions.ticker
        ORDER BY ticker, updated_at DESC, position_id DESC
        LIMIT 1
    ) AS following
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
