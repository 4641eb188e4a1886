-- Purpose: how many allocations there are.
-- Parameters: none.
-- Locks: none.
SELECT count(*) FROM allocations
