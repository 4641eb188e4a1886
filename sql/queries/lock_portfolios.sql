-- Purpose: the first statement of every booking: writers of a portfolio wait for each other, always in order of id.
-- Parameters: portfolio_ids (array).
-- Locks: these rows of portfolios, until the transaction ends. Foreign keys to them don't wait.
SELECT portfolio_id
FROM portfolios
WHERE portfolio_id = ANY (%(portfolio_ids)s::text[])
ORDER BY portfolio_id
FOR NO KEY UPDATE
