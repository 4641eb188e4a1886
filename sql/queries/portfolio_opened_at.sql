-- Purpose: when a portfolio was opened.
-- Parameters: portfolio_id.
-- Locks: none.
SELECT opened_at FROM portfolios WHERE portfolio_id = %(portfolio_id)s
