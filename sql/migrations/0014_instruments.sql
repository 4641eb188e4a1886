-- Purpose: instruments are written with what a source says of a ticker, which is not always its exchange.
-- Locks: instruments, for a moment.

ALTER TABLE instruments ALTER COLUMN exchange DROP NOT NULL;
