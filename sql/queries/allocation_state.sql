-- Purpose: what an allocation must know of portfolios beside reserved_cash: cash, what is held, whether a halt is in
-- force.
-- Parameters: portfolio_ids (array).
-- Locks: none; to be run after lock_portfolios in the same transaction, and as a statement of its own, so that it sees
-- what the lock has waited for. Cost: a few index entries per portfolio and ticker it has held, whatever its history.
SELECT
    portfolio.portfolio_id,
    portfolio.base_currency,
    coalesce(cash.notional, 0),
    held.tickers,
    held.quantities,
    EXISTS (
        SELECT FROM halts
        WHERE resumed_at IS NULL AND (portfolio_id IS NULL OR portfolio_id = portfolio.portfolio_id)
    )
FROM portfolios AS portfolio
LEFT JOIN LATERAL (
    SELECT notional
    FROM cash_equity_book
    WHERE portfolio_id = portfolio.portfolio_id
    ORDER BY timestamp DESC, id DESC
    LIMIT 1
) AS cash ON true
CROSS JOIN LATERAL (
    WITH RECURSIVE latest AS (
        (
            SELECT ticker, quantity
            FROM positions_book
            WHERE portfolio_id = portfolio.portfolio_id
            ORDER BY ticker, updated_at DESC, position_id DESC
            LIMIT 1
        )
        UNION ALL
        SELECT following.*
        FROM latest
        CROSS JOIN LATERAL (
            SELECT ticker, quantity
            FROM positions_book
            WHERE portfolio_id = portfolio.portfolio_id AND ticker > latest.ticker
            ORDER BY ticker, updated_at DESC, position_id DESC
            LIMIT 1
        ) AS following
    )
    SELECT
        coalesce(array_agg(ticker::text), '{}') AS tickers,
        coalesce(array_agg(quantity), '{}') AS quantities
    FROM latest
    WHERE quantity <> 0
) AS held
WHERE portfolio.portfolio_id = ANY (%(portfolio_ids)s::text[])
