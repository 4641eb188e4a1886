-- Purpose: let no program that uses a key send a request for some seconds.
-- Parameters: key_hash, seconds.
-- Locks: the row, for the moment of the statement.
INSERT INTO rate_limits AS shared (key_hash, free_at)
VALUES (%(key_hash)s, clock_timestamp() + %(seconds)s * interval '1 second')
ON CONFLICT (key_hash) DO UPDATE
SET free_at = greatest(shared.free_at, excluded.free_at)
