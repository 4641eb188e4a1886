-- Purpose: reserve the next places for requests that all programs with one key share; in how many seconds the first is.
-- Parameters: key_hash; count; pause_seconds between two places; burst_seconds: how far back, after a rest, the first
-- may lie; ahead_seconds: no reservation lies further ahead, unless the clock was set back, which is mended here.
-- Locks: the row, for the moment of the statement.
INSERT INTO rate_limits AS shared (key_hash, free_at)
VALUES (
    %(key_hash)s,
    clock_timestamp() + (%(count)s * %(pause_seconds)s - %(burst_seconds)s) * interval '1 second'
)
ON CONFLICT (key_hash) DO UPDATE
SET free_at = greatest(
    least(shared.free_at, clock_timestamp() + %(ahead_seconds)s * interval '1 second'),
    clock_timestamp() - %(burst_seconds)s * interval '1 second'
) + %(count)s * %(pause_seconds)s * interval '1 second'
RETURNING extract(epoch FROM free_at - clock_timestamp())::float8 - %(count)s * %(pause_seconds)s
