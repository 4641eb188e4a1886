-- Purpose: the valuations of a portfolio in order of time, to compare with a backtest's equity.
-- Parameters: portfolio_id.
-- Locks: none.
SELECT equity FROM pnl_book WHERE portfolio_id = %(portfolio_id)s ORDER BY timestamp, id;
