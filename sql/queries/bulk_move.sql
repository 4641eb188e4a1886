-- Purpose: move staged rows to their table; a row whose key is taken is left out.
-- Parameters: the identifiers {staged}, {table}, {columns}, {conflict_columns}.
-- Locks: the new rows.
INSERT INTO {table} ({columns}) SELECT {columns} FROM {staged}
ON CONFLICT ({conflict_columns}) DO NOTHING
