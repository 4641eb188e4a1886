-- Purpose: the database's clock.
-- Parameters: none.
-- Locks: none.
SELECT clock_timestamp()
