-- Purpose: fill the staging table of a bulk insert in COPY's text format.
-- Parameters: the identifiers {staged}, {columns}.
-- Locks: none that others see.
COPY {staged} ({columns}) FROM STDIN
