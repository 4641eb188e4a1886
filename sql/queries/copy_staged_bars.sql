-- Purpose: fill staged_bars in PostgreSQL's binary format.
-- Locks: none that others see.
COPY staged_bars FROM STDIN (FORMAT binary)
