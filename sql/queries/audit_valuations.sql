-- Purpose: valuations whose parts don't add up, or whose booking time does not rise: the first of each portfolio.
-- Parameters: portfolio_ids (array).
-- Locks: none. Cost: every valuation of these portfolios.
WITH ordered AS (
    SELECT
        pnl_book.*,
        lag(timestamp) OVER (PARTITION BY portfolio_id ORDER BY id) AS before
    FROM pnl_book
    WHERE portfolio_id = ANY (%(portfolio_ids)s::text[])
)
SELECT DISTINCT ON (portfolio_id)
    portfolio_id,
    NULL::bigint,
    'pnl_book',
    id,
    CASE WHEN timestamp <= before THEN 'timestamp' ELSE 'notional' END,
    CASE WHEN timestamp <= before THEN 'after ' || before ELSE (realised + unrealised + income - costs)::text END,
    CASE WHEN timestamp <= before THEN timestamp::text ELSE notional::text END
FROM ordered
WHERE timestamp <= before OR realised + unrealised + income - costs <> notional
ORDER BY portfolio_id, id
