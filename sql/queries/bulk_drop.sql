-- Purpose: let the next bulk insert of the same transaction begin anew.
-- Parameters: the identifier {staged}.
-- Locks: none that others see.
DROP TABLE {staged}
