-- Purpose: the guard of what only a lease's holder may write: a row where the lease is held under this epoch for longer
-- than a request takes. It stays so until the transaction ends: a takeover waits for the lock, a renewal does not. The
-- server ends the transaction of a client that then falls silent, so nobody waits longer than this.
-- Parameters: lease_name, lease_epoch, send_timeout_seconds.
-- Locks: this row against takeover.
SELECT set_config('idle_in_transaction_session_timeout', (%(send_timeout_seconds)s * 1000)::integer::text, true)
FROM leases
WHERE name = %(lease_name)s AND epoch = %(lease_epoch)s AND released_at IS NULL
  AND expires_at > clock_timestamp() + %(send_timeout_seconds)s * interval '1 second'
FOR KEY SHARE
