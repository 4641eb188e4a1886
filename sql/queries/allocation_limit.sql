-- Purpose: what a portfolio's own targets are sized on at most: its target of the last allocation, where it could not
-- give what it should have. No row: there is no limit.
-- Parameters: portfolio_id.
-- Locks: none. Cost: one index entry.
SELECT target
FROM (
    SELECT target, is_limit
    FROM allocation_targets
    WHERE portfolio_id = %(portfolio_id)s
    ORDER BY allocation DESC
    LIMIT 1
) AS latest
WHERE is_limit
