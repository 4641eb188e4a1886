-- Purpose: transfers that don't have two sides of one currency that cancel out, where one side is in these portfolios.
-- Parameters: portfolio_ids (array).
-- Locks: none. Cost: every transfer of all portfolios.
SELECT
    min(t.portfolio_id) FILTER (WHERE t.portfolio_id = ANY (%(portfolio_ids)s::text[])),
    min(t.id), 'trade_execution_logs', min(t.id), 'transfer', 'two sides that cancel out',
    string_agg(t.portfolio_id || ' ' || t.side || ' ' || t.notional || ' ' || t.currency, ', ' ORDER BY t.id)
FROM trade_execution_logs AS t
JOIN portfolios AS p USING (portfolio_id)
WHERE t.kind = 'transfer'
GROUP BY regexp_replace(t.execution_id, '#(out|in)$', '')
HAVING (
        count(*) <> 2
        OR count(DISTINCT p.base_currency) <> 1
        OR count(DISTINCT t.portfolio_id) <> 2
        OR sum(CASE t.side WHEN 'BUY' THEN t.notional ELSE -t.notional END) <> 0
    )
    AND bool_or(t.portfolio_id = ANY (%(portfolio_ids)s::text[]))
LIMIT 100
