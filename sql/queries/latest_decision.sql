-- Purpose: the newest decision of a portfolio's strategy, and what has ended without a full fill since then.
-- Parameters: portfolio_id.
-- Locks: none.
-- The ends are told in the order in which they were booked, not by ended_at: an engine that takes over may live at an
-- earlier moment (a simulated clock, or one that was set back).
SELECT
    latest.due_at,
    latest.bar_timestamp,
    latest.state::text,
    latest.told_to,
    lapsed.told_to,
    coalesce(lapsed.tickers, '{}'),
    coalesce(lapsed.quantities, '{}'),
    coalesce(lapsed.reasons, '{}')
FROM (
    SELECT due_at, bar_timestamp, state, told_to
    FROM decisions
    WHERE portfolio_id = %(portfolio_id)s AND kind = 'strategy'
    ORDER BY due_at DESC
    LIMIT 1
) AS latest
CROSS JOIN LATERAL (
    SELECT
        array_agg(ticker::text ORDER BY ended_number, due_at, intent) AS tickers,
        array_agg(CASE side WHEN 'BUY' THEN unfilled ELSE -unfilled END ORDER BY ended_number, due_at, intent) AS quantities,
        max(ended_number) AS told_to,
        array_agg(reason::text ORDER BY ended_number, due_at, intent) AS reasons
    FROM orders
    WHERE portfolio_id = %(portfolio_id)s AND reason IS NOT NULL AND ended_number > latest.told_to
) AS lapsed;
