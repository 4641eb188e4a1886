-- Purpose: let the next load of the same transaction begin anew.
-- Locks: none that others see.
DROP TABLE staged_bars
