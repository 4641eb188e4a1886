-- Purpose: how many orders of a portfolio were decided, and not refused, in a span of time.
-- Parameters: portfolio_id, after (excluded), before (excluded).
-- Locks: none.
SELECT count(*)
FROM orders
WHERE portfolio_id = %(portfolio_id)s AND due_at > %(after)s AND due_at < %(before)s
    AND NOT (state = 'ended' AND sent_at IS NULL AND ended_at = due_at)
