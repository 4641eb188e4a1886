-- Purpose: how every portfolio is: who runs it, what it last did, what it holds, what is open, whether it is halted.
-- Parameters: none.
-- Locks: none. Cost: a few index entries per portfolio and ticker it has held, whatever its history.
SELECT
    portfolios.portfolio_id, portfolios.mode, portfolios.broker, portfolios.account, portfolios.base_currency,
    CASE WHEN leases.released_at IS NULL THEN leases.holder END AS holder,
    CASE WHEN leases.released_at IS NULL
        THEN extract(epoch FROM leases.expires_at - clock_timestamp())::double precision
    END AS lease_seconds,
    status.state, status.state_since, status.reason, status.last_cycle_at,
    extract(epoch FROM clock_timestamp() - status.last_cycle_at)::double precision AS last_cycle_age_seconds,
    coalesce(status.cycles, 0), coalesce(status.consecutive_failures, 0), status.last_error, status.next_due_at,
    decision.due_at, cash.notional, valuation.equity, held.positions, open_orders.orders
FROM portfolios
LEFT JOIN leases ON leases.name = 'portfolio:' || portfolios.portfolio_id
LEFT JOIN engine_status AS status USING (portfolio_id)
LEFT JOIN LATERAL (
    SELECT due_at FROM decisions WHERE decisions.portfolio_id = portfolios.portfolio_id ORDER BY due_at DESC LIMIT 1
) AS decision ON true
LEFT JOIN LATERAL (
    SELECT notional
    FROM cash_equity_book AS book
    WHERE book.portfolio_id = portfolios.portfolio_id
    ORDER BY timestamp DESC, id DESC
    LIMIT 1
) AS cash ON true
LEFT JOIN LATERAL (
    SELECT equity
    FROM pnl_book AS book
    WHERE book.portfolio_id = portfolios.portfolio_id
    ORDER BY timestamp DESC, id DESC
    LIMIT 1
) AS valuation ON true
CROSS JOIN LATERAL (
    WITH RECURSIVE latest AS (
        (
            SELECT ticker, quantity
            FROM positions_book AS book
            WHERE book.portfolio_id = portfolios.portfolio_id
            ORDER BY ticker, updated_at DESC, position_id DESC
            LIMIT 1
        )
        UNION ALL
        SELECT following.*
        FROM latest
        CROSS JOIN LATERAL (
            SELECT ticker, quantity
            FROM positions_book AS book
            WHERE book.portfolio_id = portfolios.portfolio_id AND ticker > latest.ticker
            ORDER BY ticker, updated_at DESC, position_id DESC
            LIMIT 1
        ) AS following
    )
    SELECT count(*) AS positions FROM latest WHERE quantity <> 0
) AS held
CROSS JOIN LATERAL (
    SELECT count(*) AS orders
    FROM orders
    WHERE orders.portfolio_id = portfolios.portfolio_id AND ended_at IS NULL
) AS open_orders
ORDER BY portfolios.portfolio_id
