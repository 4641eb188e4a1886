-- Purpose: take what is asked of the portfolios whose leases are held: what waits, while it may still be taken, and what
-- another engine, or this one under an earlier epoch, has left running. Oldest first.
-- Parameters: holder; portfolio_ids, names and epochs of their leases (arrays of one length).
-- Locks: these commands.
WITH due AS (
    SELECT commands.id, mine.epoch
    FROM unnest(%(portfolio_ids)s::text[], %(names)s::text[], %(epochs)s::bigint[]) AS mine (portfolio_id, name, epoch)
    JOIN leases ON leases.name = mine.name AND leases.epoch = mine.epoch AND leases.released_at IS NULL
        AND leases.expires_at > clock_timestamp()
    JOIN commands ON commands.portfolio_id = mine.portfolio_id AND commands.answered_at IS NULL
    WHERE (commands.state = 'waiting' AND commands.take_until > clock_timestamp())
       OR (commands.state = 'running' AND commands.taken_epoch < mine.epoch)
    ORDER BY commands.id
    FOR UPDATE OF commands SKIP LOCKED
), taken AS (
    UPDATE commands
    SET state = 'running', taken_by = %(holder)s, taken_epoch = due.epoch, taken_at = clock_timestamp()
    FROM due
    WHERE commands.id = due.id
    RETURNING commands.id, commands.kind, commands.portfolio_id, commands.arguments, commands.asked_by,
        commands.asked_at, commands.state, commands.taken_by, commands.taken_epoch, commands.answer
)
SELECT * FROM taken ORDER BY id
