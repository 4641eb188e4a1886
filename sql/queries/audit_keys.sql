-- Purpose: keys that were booked more than once, should the unique index ever have failed.
-- Parameters: portfolio_ids (array).
-- Locks: none. Cost: every trade row of these portfolios.
SELECT min(portfolio_id), max(id), 'trade_execution_logs', max(id), 'execution_id', 'booked once', execution_id
FROM trade_execution_logs
WHERE portfolio_id = ANY (%(portfolio_ids)s::text[])
GROUP BY execution_id
HAVING count(*) > 1
LIMIT 100
