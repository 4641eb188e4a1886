-- Purpose: ask something of the engines that hold these portfolios, one command each.
-- Parameters: kind, portfolio_ids (array), arguments (JSON text), asked_by, take_within_seconds.
-- Locks: the new rows.
INSERT INTO commands (kind, portfolio_id, arguments, asked_by, take_until)
SELECT %(kind)s, portfolio_id, %(arguments)s::jsonb, %(asked_by)s,
    clock_timestamp() + %(take_within_seconds)s * interval '1 second'
FROM unnest(%(portfolio_ids)s::text[]) WITH ORDINALITY AS given (portfolio_id, place)
ORDER BY place
RETURNING id
