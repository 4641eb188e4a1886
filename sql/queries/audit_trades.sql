-- Purpose: replay the trades from zero and compare each with its cash row and its position row: per portfolio the first
-- trade that breaks a rule, with the rule, what it should be and what is there.
-- Parameters: portfolio_ids (array).
-- Locks: none. Cost: every row of these portfolios, sorted twice.
WITH moved AS (
    SELECT
        t.*,
        p.base_currency,
        right(t.ticker, 5) = '_CASH' AS is_money,
        t.execution_id LIKE '%%#reversal' AS is_reversal,
        CASE
            WHEN right(t.ticker, 5) = '_CASH' THEN CASE t.side WHEN 'BUY' THEN t.notional ELSE -t.notional END
            WHEN t.kind = 'trade' THEN CASE t.side WHEN 'BUY' THEN -t.notional ELSE t.notional END - t.fees
            ELSE 0
        END AS cash_change,
        CASE
            WHEN right(t.ticker, 5) = '_CASH' THEN 0
            ELSE CASE t.side WHEN 'BUY' THEN t.quantity ELSE -t.quantity END
        END AS quantity_change
    FROM trade_execution_logs AS t
    JOIN portfolios AS p USING (portfolio_id)
    WHERE t.portfolio_id = ANY (%(portfolio_ids)s::text[])
), replayed AS (
    SELECT
        moved.*,
        sum(cash_change) OVER by_booking AS balance,
        lag(booked_at) OVER by_booking AS booked_before,
        sum(quantity_change) OVER (
            PARTITION BY portfolio_id, ticker ORDER BY id ROWS UNBOUNDED PRECEDING
        ) AS held
    FROM moved
    WINDOW by_booking AS (PARTITION BY portfolio_id ORDER BY id ROWS UNBOUNDED PRECEDING)
), compared AS (
    SELECT
        r.*,
        c.id AS cash_id, c.notional AS cash_notional, c.currency AS cash_currency, c.timestamp AS cash_timestamp,
        c.portfolio_id AS cash_portfolio_id,
        q.position_id, q.quantity AS position_quantity, q.ticker AS position_ticker,
        q.updated_at AS position_updated_at, q.portfolio_id AS position_portfolio_id
    FROM replayed AS r
    LEFT JOIN cash_equity_book AS c ON c.trade_id = r.id
    LEFT JOIN positions_book AS q ON q.trade_id = r.id
), judged AS (
    SELECT
        id,
        portfolio_id,
        CASE
            WHEN booked_at IS NULL OR booked_at <= booked_before
                THEN ARRAY['trade_execution_logs', id::text, 'booking time', 'after ' || booked_before, booked_at::text]
            WHEN is_money <> (kind NOT IN ('trade', 'split', 'rename') AND exec_price = 1)
                THEN ARRAY['trade_execution_logs', id::text, 'kind', 'one that fits ' || ticker || ' at ' || exec_price, kind]
            WHEN NOT is_money AND kind NOT IN ('trade', 'split', 'rename', 'adopt', 'adjustment')
                THEN ARRAY['trade_execution_logs', id::text, 'ticker', base_currency || '_CASH', ticker]
            WHEN NOT is_money AND kind <> 'trade' AND (exec_price, notional, fees) <> (0, 0, 0)
                THEN ARRAY['trade_execution_logs', id::text, 'money of a ' || kind, '0', notional::text]
            WHEN is_money AND NOT is_reversal AND kind IN ('deposit', 'dividend', 'adopt') AND side <> 'BUY'
                OR is_money AND NOT is_reversal AND kind IN ('withdrawal', 'fee', 'borrow', 'tax') AND side <> 'SELL'
                THEN ARRAY['trade_execution_logs', id::text, 'side of a ' || kind, 'the other', side]
            WHEN abs(notional_local - quantity * exec_price) > 0.0000005
                THEN ARRAY[
                    'trade_execution_logs', id::text, 'notional_local', (quantity * exec_price)::text,
                    notional_local::text
                ]
            WHEN abs(notional - notional_local * fx_rate) > 0.0000005
                THEN ARRAY[
                    'trade_execution_logs', id::text, 'notional', (notional_local * fx_rate)::text, notional::text
                ]
            WHEN currency = base_currency AND fx_rate <> 1
                THEN ARRAY['trade_execution_logs', id::text, 'fx_rate', '1', fx_rate::text]
            WHEN cash_change <> 0 AND cash_id IS NULL
                THEN ARRAY['trade_execution_logs', id::text, 'cash row', 'one with ' || balance, 'none']
            WHEN cash_change = 0 AND cash_id IS NOT NULL
                THEN ARRAY['cash_equity_book', cash_id::text, 'cash row', 'none', cash_notional::text]
            WHEN cash_notional <> balance
                THEN ARRAY['cash_equity_book', cash_id::text, 'notional', balance::text, cash_notional::text]
            WHEN cash_portfolio_id <> portfolio_id
                THEN ARRAY['cash_equity_book', cash_id::text, 'portfolio_id', portfolio_id, cash_portfolio_id]
            WHEN cash_currency <> base_currency
                THEN ARRAY['cash_equity_book', cash_id::text, 'currency', base_currency, cash_currency]
            WHEN cash_timestamp <> booked_at
                THEN ARRAY['cash_equity_book', cash_id::text, 'timestamp', booked_at::text, cash_timestamp::text]
            WHEN quantity_change <> 0 AND position_id IS NULL
                THEN ARRAY['trade_execution_logs', id::text, 'position row', 'one with ' || held, 'none']
            WHEN quantity_change = 0 AND position_id IS NOT NULL
                THEN ARRAY['positions_book', position_id::text, 'position row', 'none', position_quantity::text]
            WHEN position_quantity <> held
                THEN ARRAY['positions_book', position_id::text, 'quantity', held::text, position_quantity::text]
            WHEN position_portfolio_id <> portfolio_id
                THEN ARRAY['positions_book', position_id::text, 'portfolio_id', portfolio_id, position_portfolio_id]
            WHEN position_ticker <> ticker
                THEN ARRAY['positions_book', position_id::text, 'ticker', ticker, position_ticker]
            WHEN position_updated_at <> booked_at
                THEN ARRAY['positions_book', position_id::text, 'updated_at', booked_at::text, position_updated_at::text]
        END AS broken
    FROM compared
)
SELECT DISTINCT ON (portfolio_id)
    portfolio_id, id, broken[1], broken[2]::bigint, broken[3], broken[4], broken[5]
FROM judged
WHERE broken IS NOT NULL
ORDER BY portfolio_id, id
