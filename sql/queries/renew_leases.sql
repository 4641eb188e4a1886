-- Purpose: keep leases. One that has expired is kept too, as long as nobody has taken it.
-- Parameters: names and epochs (arrays of one length), ttl_seconds.
-- Locks: these rows.
UPDATE leases
SET expires_at = clock_timestamp() + %(ttl_seconds)s * interval '1 second'
FROM unnest(%(names)s::text[], %(epochs)s::bigint[]) AS mine (name, epoch)
WHERE leases.name = mine.name AND leases.epoch = mine.epoch AND leases.released_at IS NULL
RETURNING leases.name
