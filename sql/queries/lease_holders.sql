-- Purpose: who holds these leases, and for how many seconds others have to wait for them at most.
-- Parameters: names (array), send_timeout_seconds.
-- Locks: none.
SELECT name, holder,
    extract(epoch FROM expires_at - clock_timestamp())::double precision + %(send_timeout_seconds)s AS seconds
FROM leases
WHERE name = ANY (%(names)s::text[]) AND released_at IS NULL
ORDER BY name
