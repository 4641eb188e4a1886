-- Purpose: the engines that were seen lately, newest first; those that have stopped included.
-- Parameters: seconds.
-- Locks: none.
SELECT holder, host, pid, version, config_name, started_at, seen_at, stopped_at,
    extract(epoch FROM clock_timestamp() - seen_at)::double precision AS age_seconds
FROM engines
WHERE seen_at > clock_timestamp() - %(seconds)s * interval '1 second'
ORDER BY started_at DESC, holder
