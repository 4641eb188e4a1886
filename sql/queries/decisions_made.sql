-- Purpose: the decisions of a portfolio's strategy, in order: when each was due, the newest bar that it saw, and the config
-- that it was made with.
-- Parameters: portfolio_id.
-- Locks: none. Cost: the portfolio's decisions.
SELECT due_at, bar_timestamp, config_hash
FROM decisions
WHERE portfolio_id = %(portfolio_id)s AND kind = 'strategy'
ORDER BY due_at
