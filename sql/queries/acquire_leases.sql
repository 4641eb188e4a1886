-- Purpose: take those of these leases that are free: never held, released, one's own, or expired for longer than a
-- request can be under way. What somebody else is taking or writing under at this moment is left to him. An expiry that
-- no renewal can have set, because the clock has stepped back since, is put where one at this moment would put it.
-- Parameters: names (array), holder, ttl_seconds, send_timeout_seconds.
-- Locks: the rows that are taken.
WITH mended AS (
    UPDATE leases
    SET expires_at = clock_timestamp() + ttl_seconds * interval '1 second'
    WHERE name = ANY (%(names)s::text[]) AND released_at IS NULL AND holder <> %(holder)s
      AND expires_at > clock_timestamp() + ttl_seconds * interval '1 second'
), free AS (
    SELECT name
    FROM leases
    WHERE name = ANY (%(names)s::text[])
      AND (
          released_at IS NOT NULL
          OR holder = %(holder)s
          OR expires_at < clock_timestamp() - %(send_timeout_seconds)s * interval '1 second'
      )
    ORDER BY name
    FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE leases
    SET holder = %(holder)s, epoch = leases.epoch + 1, acquired_at = clock_timestamp(), released_at = NULL,
        ttl_seconds = %(ttl_seconds)s, expires_at = clock_timestamp() + %(ttl_seconds)s * interval '1 second'
    FROM free
    WHERE leases.name = free.name
    RETURNING leases.name, leases.epoch
), made AS (
    INSERT INTO leases (name, holder, acquired_at, ttl_seconds, expires_at)
    SELECT DISTINCT given.name, %(holder)s, clock_timestamp(), %(ttl_seconds)s,
        clock_timestamp() + %(ttl_seconds)s * interval '1 second'
    FROM unnest(%(names)s::text[]) AS given (name)
    WHERE NOT EXISTS (SELECT FROM leases WHERE leases.name = given.name)
    ORDER BY given.name
    ON CONFLICT DO NOTHING
    RETURNING name, epoch
)
SELECT name, epoch FROM taken
UNION ALL
SELECT name, epoch FROM made
