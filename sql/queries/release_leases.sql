-- Purpose: give leases back, so that anybody may take them at once.
-- Parameters: names and epochs (arrays of one length).
-- Locks: these rows.
UPDATE leases
SET released_at = clock_timestamp()
FROM unnest(%(names)s::text[], %(epochs)s::bigint[]) AS mine (name, epoch)
WHERE leases.name = mine.name AND leases.epoch = mine.epoch AND leases.released_at IS NULL
RETURNING leases.name
