-- Purpose: the valuation from which drawdown is measured: the newest when a halt by a risk rule was last ended, or 0.
-- Parameters: portfolio_id.
-- Locks: none. Cost: the halts of this portfolio.
SELECT coalesce(max(measured_from), 0) FROM halts WHERE portfolio_id = %(portfolio_id)s
