-- Purpose: an allocation, and what it means for each portfolio; nothing where its run id is taken.
-- Parameters: run_id, allocator, due_at, session, booked_at (null: now), total, made_by; arrays of equal length:
-- portfolio_ids, equity, target, transfer, shortfall, is_limit.
-- Locks: the new rows. To be run under lock_portfolios: another allocation of the same run id is waited for.
WITH made AS (
    INSERT INTO allocations (run_id, allocator, due_at, session, booked_at, total, made_by)
    VALUES (
        %(run_id)s, %(allocator)s, %(due_at)s, %(session)s, coalesce(%(booked_at)s, clock_timestamp()), %(total)s,
        %(made_by)s
    )
    ON CONFLICT (run_id) DO NOTHING
    RETURNING run_id, id
)
INSERT INTO allocation_targets (
    run_id, allocation, portfolio_id, equity, target, transfer, shortfall, is_limit
)
SELECT made.run_id, made.id, asked.*
FROM made
CROSS JOIN unnest(
    %(portfolio_ids)s::text[], %(equity)s::numeric[], %(target)s::numeric[], %(transfer)s::numeric[],
    %(shortfall)s::numeric[], %(is_limit)s::boolean[]
) AS asked
