-- Purpose: write a valuation; nothing where this portfolio was valued at that bar already, or at a
-- later one (by another engine, while this one was paused).
-- Parameters: portfolio_id, timestamp, notional, equity, realised, unrealised, income, costs,
-- bar_timestamp (the newest bar that it saw, or null).
-- Locks: the new row. To be run under lock_portfolios.
INSERT INTO pnl_book (portfolio_id, timestamp, notional, equity, realised, unrealised, income, costs, bar_timestamp)
SELECT %(portfolio_id)s, %(timestamp)s, %(notional)s, %(equity)s, %(realised)s, %(unrealised)s, %(income)s, %(costs)s,
    %(bar_timestamp)s
WHERE NOT EXISTS (
    SELECT FROM pnl_book WHERE portfolio_id = %(portfolio_id)s AND bar_timestamp > %(bar_timestamp)s
)
ON CONFLICT (portfolio_id, bar_timestamp) DO NOTHING
