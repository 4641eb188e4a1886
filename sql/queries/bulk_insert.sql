-- Purpose: the specification's bulk insert with conflict handling, for a few hundred rows.
-- Parameters: the identifiers {table}, {columns}, {conflict_columns}; the rows.
-- Locks: the new rows.
INSERT INTO {table} ({columns}) VALUES %s
ON CONFLICT ({conflict_columns}) DO NOTHING
