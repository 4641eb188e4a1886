-- Purpose: whose books there are, in order of id.
-- Parameters: portfolio_ids (array; null: all).
-- Locks: none.
SELECT portfolio_id, mode, broker, account, base_currency
FROM portfolios
WHERE %(portfolio_ids)s::text[] IS NULL OR portfolio_id = ANY (%(portfolio_ids)s::text[])
ORDER BY portfolio_id
