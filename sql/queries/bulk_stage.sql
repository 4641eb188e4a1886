-- Purpose: an empty temporary table with some columns of another, for a bulk insert through COPY.
-- Parameters: the identifiers {staged}, {table}, {columns}.
-- Locks: none that others see; gone with the transaction.
CREATE TEMPORARY TABLE {staged} ON COMMIT DROP AS SELECT {columns} FROM {table} WITH NO DATA
