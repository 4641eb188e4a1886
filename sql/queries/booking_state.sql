-- Purpose: all that a booking must know: per portfolio its currency, the server's clock, the last booking time in any
-- book, the cash, the quantities of the tickers asked for, which of the keys are taken, and the isolation level.
-- Parameters: portfolio_ids (array), owners and tickers (arrays of equal length: whose quantity of what), keys (array).
-- Locks: none; to be run after lock_portfolios in the same transaction, and as a statement of its own, so that it sees
-- what the lock has waited for. Cost: a few index entries per portfolio, ticker and key.
SELECT
    portfolio.portfolio_id,
    portfolio.base_currency,
    clock_timestamp(),
    greatest(cash.timestamp, trade.booked_at, pnl.timestamp),
    coalesce(cash.notional, 0),
    held.tickers,
    held.quantities,
    taken.keys,
    current_setting('transaction_isolation')
FROM portfolios AS portfolio
LEFT JOIN LATERAL (
    SELECT notional, timestamp
    FROM cash_equity_book
    WHERE portfolio_id = portfolio.portfolio_id
    ORDER BY timestamp DESC, id DESC
    LIMIT 1
) AS cash ON true
LEFT JOIN LATERAL (
    SELECT booked_at
    FROM trade_execution_logs
    WHERE portfolio_id = portfolio.portfolio_id
    ORDER BY id DESC
    LIMIT 1
) AS trade ON true
LEFT JOIN LATERAL (
    SELECT timestamp
    FROM pnl_book
    WHERE portfolio_id = portfolio.portfolio_id
    ORDER BY timestamp DESC, id DESC
    LIMIT 1
) AS pnl ON true
CROSS JOIN LATERAL (
    SELECT
        coalesce(array_agg(latest.ticker::text), '{}') AS tickers,
        coalesce(array_agg(latest.quantity), '{}') AS quantities
    FROM unnest(%(owners)s::text[], %(tickers)s::text[]) AS asked (portfolio_id, ticker)
    CROSS JOIN LATERAL (
        SELECT ticker, quantity
        FROM positions_book
        WHERE portfolio_id = asked.portfolio_id AND ticker = asked.ticker
        ORDER BY updated_at DESC, position_id DESC
        LIMIT 1
    ) AS latest
    WHERE asked.portfolio_id = portfolio.portfolio_id
) AS held
CROSS JOIN (
    SELECT coalesce(array_agg(execution_id::text), '{}') AS keys
    FROM trade_execution_logs
    WHERE execution_id = ANY (%(keys)s::text[])
) AS taken
WHERE portfolio.portfolio_id = ANY (%(portfolio_ids)s::text[])
