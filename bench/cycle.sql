-- What the engine sends in one cycle without orders; written and checked by bench/live.py. To be run by pgbench with
-- -D first= and portfolios= (whose books), base= (a number that no earlier run has used) and after= (newest trade id).
\set base :base + 6
\set n :base + :client_id
\set p :first + mod(:n, :portfolios)
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
/* feed_changes */ SELECT
    (
        SELECT coalesce(sum(version), 0)::bigint
        FROM market_data_version
        WHERE source = 'many' AND bar_interval = '1d' AND ticker = ANY (ARRAY['T000','T001','T002','T003','T004','T005','T006','T007','T008','T009','T010','T011','T012','T013','T014','T015','T016','T017','T018','T019','T020','T021','T022','T023','T024','T025','T026','T027','T028','T029','T030','T031','T032','T033','T034','T035','T036','T037','T038','T039','T040','T041','T042','T043','T044','T045','T046','T047','T048','T049'])
    ),
    count(*),
    bit_xor(hash_record_extended(ROW (ticker, ex_date, kind, value), 0))
FROM corporate_actions
WHERE source = 'many' AND ticker = ANY (ARRAY['T000','T001','T002','T003','T004','T005','T006','T007','T008','T009','T010','T011','T012','T013','T014','T015','T016','T017','T018','T019','T020','T021','T022','T023','T024','T025','T026','T027','T028','T029','T030','T031','T032','T033','T034','T035','T036','T037','T038','T039','T040','T041','T042','T043','T044','T045','T046','T047','T048','T049']) AND ex_date > '2000-01-03'::date AND NOT is_ignored;
/* portfolio_state */ WITH RECURSIVE latest_cash AS (
    SELECT notional, currency, timestamp
    FROM cash_equity_book
    WHERE portfolio_id = 'bench-:p'
    ORDER BY timestamp DESC, id DESC
    LIMIT 1
), latest_positions AS (
    (
        SELECT ticker, quantity, updated_at
        FROM positions_book
        WHERE portfolio_id = 'bench-:p'
        ORDER BY ticker, updated_at DESC, position_id DESC
        LIMIT 1
    )
    UNION ALL
    SELECT following.*
    FROM latest_positions
    CROSS JOIN LATERAL (
        SELECT ticker, quantity, updated_at
        FROM positions_book
        WHERE portfolio_id = 'bench-:p' AND ticker > latest_positions.ticker
        ORDER BY ticker, updated_at DESC, position_id DESC
        LIMIT 1
    ) AS following
), positions_data AS (
    SELECT
        coalesce(array_agg(ticker::text ORDER BY ticker), '{}') AS tickers,
        coalesce(array_agg(quantity ORDER BY ticker), '{}') AS quantities,
        coalesce(array_agg(updated_at ORDER BY ticker), '{}') AS updated_at
    FROM latest_positions
)
SELECT
    cash_data.notional AS cash,
    cash_data.currency AS currency,
    cash_data.timestamp AS cash_timestamp,
    positions_data.tickers,
    positions_data.quantities,
    positions_data.updated_at,
    (SELECT coalesce(max(id), 0) FROM trade_execution_logs WHERE portfolio_id = 'bench-:p') AS newest_trade
FROM positions_data
LEFT JOIN latest_cash AS cash_data ON true;
/* live_orders */ SELECT orders.order_id, orders.due_at, decisions.valid_until, orders.ticker, orders.side, orders.quantity,
    orders.filled, orders.decision_price, orders.order_type, orders.limit_price, orders.stop_price,
    orders.time_in_force, orders.is_target, orders.state, orders.sent_at, orders.cancel_reason,
    decisions.kind = 'liquidation'
FROM orders
JOIN decisions USING (portfolio_id, due_at)
WHERE orders.portfolio_id = 'bench-:p' AND orders.ended_at IS NULL
ORDER BY orders.due_at, orders.intent;
/* latest_decision */ SELECT
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
    WHERE portfolio_id = 'bench-:p' AND kind = 'strategy'
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
    WHERE portfolio_id = 'bench-:p' AND reason IS NOT NULL AND ended_number > latest.told_to
) AS lapsed;
/* latest_pnl */ SELECT timestamp, notional, equity, realised, unrealised, income, costs, bar_timestamp
FROM pnl_book
WHERE portfolio_id = 'bench-:p'
ORDER BY timestamp DESC, id DESC
LIMIT 1;
/* halts_in_force */ SELECT portfolio_id, reason, keep_orders, halted_by, halted_at, resumed_by, resumed_at
FROM halts
WHERE ('bench-:p'::text IS NULL OR portfolio_id = 'bench-:p' OR portfolio_id IS NULL)
  AND resumed_at IS NULL
ORDER BY halted_at, id;
COMMIT;
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL lock_timeout = '30s' \; SET LOCAL idle_in_transaction_session_timeout = '15s' \; /* lock_portfolios */ SELECT portfolio_id
FROM portfolios
WHERE portfolio_id = ANY (ARRAY['bench-:p']::text[])
ORDER BY portfolio_id
FOR NO KEY UPDATE \; /* booking_state */ SELECT
    portfolio.portfolio_id,
    portfolio.base_currency,
    clock_timestamp(),
    greatest(cash.timestamp, trade.booked_at, pnl.timestamp),
    coalesce(cash.notional, 0),
    held.tickers,
    held.quantities,
    taken.keys,
    current_setting('transaction_isolation')
FROM portfolios AS portfolio
LEFT JOIN LATERAL (
    SELECT notional, timestamp
    FROM cash_equity_book
    WHERE portfolio_id = portfolio.portfolio_id
    ORDER BY timestamp DESC, id DESC
    LIMIT 1
) AS cash ON true
LEFT JOIN LATERAL (
    SELECT booked_at
    FROM trade_execution_logs
    WHERE portfolio_id = portfolio.portfolio_id
    ORDER BY id DESC
    LIMIT 1
) AS trade ON true
LEFT JOIN LATERAL (
    SELECT timestamp
    FROM pnl_book
    WHERE portfolio_id = portfolio.portfolio_id
    ORDER BY timestamp DESC, id DESC
    LIMIT 1
) AS pnl ON true
CROSS JOIN LATERAL (
    SELECT
        coalesce(array_agg(latest.ticker::text), '{}') AS tickers,
        coalesce(array_agg(latest.quantity), '{}') AS quantities
    FROM unnest('{}'::text[], '{}'::text[]) AS asked (portfolio_id, ticker)
    CROSS JOIN LATERAL (
        SELECT ticker, quantity
        FROM positions_book
        WHERE portfolio_id = asked.portfolio_id AND ticker = asked.ticker
        ORDER BY updated_at DESC, position_id DESC
        LIMIT 1
    ) AS latest
    WHERE asked.portfolio_id = portfolio.portfolio_id
) AS held
CROSS JOIN (
    SELECT coalesce(array_agg(execution_id::text), '{}') AS keys
    FROM trade_execution_logs
    WHERE execution_id = ANY ('{}'::text[])
) AS taken
WHERE portfolio.portfolio_id = ANY (ARRAY['bench-:p']::text[]);
/* trades_after */ SELECT
    id, portfolio_id, ticker, exec_timestamp, side, quantity, arrival_price, exec_price, slippage_bps, notional,
    notional_local, currency, fx_rate, kind, fees, execution_id, order_id, for_ticker, decision_price, note
FROM trade_execution_logs
WHERE portfolio_id = 'bench-:p' AND id > :after
ORDER BY id
LIMIT 20000;
/* insert_valuation */ INSERT INTO pnl_book (portfolio_id, timestamp, notional, equity, realised, unrealised, income, costs, bar_timestamp)
SELECT 'bench-:p', to_timestamp(:n), 1234567.891234, 1234567.891234, 1234567.891234, 1234567.891234, 1234567.891234, 2 * 1234567.891234,
    to_timestamp(:n)
WHERE NOT EXISTS (
    SELECT FROM pnl_book WHERE portfolio_id = 'bench-:p' AND bar_timestamp > to_timestamp(:n)
)
ON CONFLICT (portfolio_id, bar_timestamp) DO NOTHING;
COMMIT;
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL lock_timeout = '30s' \; SET LOCAL idle_in_transaction_session_timeout = '15s' \; /* lock_portfolios */ SELECT portfolio_id
FROM portfolios
WHERE portfolio_id = ANY (ARRAY['bench-:p']::text[])
ORDER BY portfolio_id
FOR NO KEY UPDATE;
/* lease_is_mine */ SELECT set_config('idle_in_transaction_session_timeout', (10.0 * 1000)::integer::text, true)
FROM leases
WHERE name = 'portfolio:bench-:p' AND epoch = 1 AND released_at IS NULL
  AND expires_at > clock_timestamp() + 10.0 * interval '1 second'
FOR KEY SHARE;
/* insert_decision */ INSERT INTO decisions (portfolio_id, kind, due_at, bar_timestamp, valid_until, told_to, state, config_hash, code_hash,
    window_hash)
SELECT 'bench-:p', 'strategy', to_timestamp(:n), to_timestamp(:n), to_timestamp(:n), 0, '{}'::jsonb,
    '0123456789abcdef0123456789abcdef', '0123456789abcdef0123456789abcdef', '0123456789abcdef0123456789abcdef'
WHERE ('strategy' = 'liquidation' OR NOT EXISTS (
    SELECT FROM halts WHERE resumed_at IS NULL AND (portfolio_id IS NULL OR portfolio_id = 'bench-:p')
))
AND ((SELECT max(id) FROM trade_execution_logs WHERE portfolio_id = 'bench-:p')::bigint IS NULL OR (SELECT max(id) FROM trade_execution_logs WHERE portfolio_id = 'bench-:p') = (
    SELECT coalesce(max(id), 0) FROM trade_execution_logs WHERE portfolio_id = 'bench-:p'
))
ON CONFLICT (portfolio_id, due_at) DO NOTHING;
COMMIT;
