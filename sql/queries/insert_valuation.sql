-- Purpose: write a valuation.
-- Parameters: portfolio_id, timestamp, notional, equity, realised, unrealised, income, costs.
-- Locks: the new row. To be run under lock_portfolios.
INSERT INTO pnl_book (portfolio_id, timestamp, notional, equity, realised, unrealised, income, costs)
VALUES (
    %(portfolio_id)s, %(timestamp)s, %(notional)s, %(equity)s, %(realised)s, %(unrealised)s, %(income)s, %(costs)s
)
