-- Purpose: one allocation, a row per portfolio in order of id. No row: it has not been made.
-- Parameters: run_id.
-- Locks: none.
SELECT
    allocations.due_at, allocations.session, allocations.total, targets.portfolio_id, targets.equity, targets.target,
    targets.transfer, targets.shortfall
FROM allocations
JOIN allocation_targets AS targets USING (run_id)
WHERE allocations.run_id = %(run_id)s
ORDER BY targets.portfolio_id
