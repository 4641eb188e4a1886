-- Purpose: the heartbeat: an engine lives, and how those of its portfolios are that changed. What another engine has
-- taken meanwhile is left to that one.
-- Parameters: holder; portfolio_ids, names (of their leases) and the columns (arrays of one length).
-- Locks: these rows of engine_status and engines.
WITH seen AS (
    UPDATE engines SET seen_at = clock_timestamp() WHERE holder = %(holder)s
)
INSERT INTO engine_status AS kept (portfolio_id, holder, state, state_since, reason, last_cycle_at, cycles,
    consecutive_failures, last_error, next_due_at, written_at)
SELECT given.portfolio_id, %(holder)s, given.state, given.state_since, given.reason, given.last_cycle_at, given.cycles,
    given.consecutive_failures, given.last_error, given.next_due_at, clock_timestamp()
FROM unnest(%(portfolio_ids)s::text[], %(names)s::text[], %(state)s::text[], %(state_since)s::timestamptz[],
    %(reason)s::text[], %(last_cycle_at)s::timestamptz[], %(cycles)s::bigint[], %(consecutive_failures)s::integer[],
    %(last_error)s::text[], %(next_due_at)s::timestamptz[]
) AS given (portfolio_id, name, state, state_since, reason, last_cycle_at, cycles, consecutive_failures, last_error,
    next_due_at)
JOIN leases ON leases.name = given.name AND leases.holder = %(holder)s
ORDER BY given.portfolio_id
ON CONFLICT (portfolio_id) DO UPDATE
SET holder = excluded.holder, state = excluded.state, state_since = excluded.state_since, reason = excluded.reason,
    last_cycle_at = excluded.last_cycle_at, cycles = excluded.cycles,
    consecutive_failures = excluded.consecutive_failures, last_error = excluded.last_error,
    next_due_at = excluded.next_due_at, written_at = excluded.written_at
