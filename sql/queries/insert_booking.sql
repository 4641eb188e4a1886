-- Purpose: write a booking: per entry a trade row, a cash row where balance is given, a position row where held is.
-- Parameters: arrays of equal length, one item per trade row, in booking order: those of the columns; session; balance
-- (cash afterwards, or null), base_currency (of the cash); held (quantity afterwards, or null).
-- Locks: the new rows. To be run under lock_portfolios. A key that another portfolio's booking has taken meanwhile is
-- left out; the caller sees that a row is missing.
WITH entry AS (
    SELECT *
    FROM unnest(
        %(portfolio_id)s::text[], %(ticker)s::text[], %(exec_timestamp)s::timestamptz[], %(side)s::text[],
        %(quantity)s::numeric[], %(arrival_price)s::numeric[], %(exec_price)s::numeric[], %(slippage_bps)s::numeric[],
        %(notional)s::numeric[], %(notional_local)s::numeric[], %(currency)s::text[], %(fx_rate)s::numeric[],
        %(kind)s::text[], %(fees)s::numeric[], %(execution_id)s::text[], %(order_id)s::text[], %(for_ticker)s::text[],
        %(decision_price)s::numeric[], %(note)s::text[], %(booked_at)s::timestamptz[], %(session)s::date[],
        %(balance)s::numeric[], %(base_currency)s::text[], %(held)s::numeric[]
    ) WITH ORDINALITY AS e (
        portfolio_id, ticker, exec_timestamp, side, quantity, arrival_price, exec_price, slippage_bps, notional,
        notional_local, currency, fx_rate, kind, fees, execution_id, order_id, for_ticker, decision_price, note,
        booked_at, session, balance, base_currency, held, n
    )
), trade AS (
    INSERT INTO trade_execution_logs (
        portfolio_id, ticker, exec_timestamp, side, quantity, arrival_price, exec_price, slippage_bps, notional,
        notional_local, currency, fx_rate, kind, fees, execution_id, order_id, for_ticker, decision_price, note,
        booked_at
    )
    SELECT
        portfolio_id, ticker, exec_timestamp, side, quantity, arrival_price, exec_price, slippage_bps, notional,
        notional_local, currency, fx_rate, kind, fees, execution_id, order_id, for_ticker, decision_price, note,
        booked_at
    FROM entry
    ORDER BY n
    ON CONFLICT (execution_id) DO NOTHING
    RETURNING id, execution_id
), cash AS (
    INSERT INTO cash_equity_book (timestamp, date, portfolio_id, currency, notional, trade_id)
    SELECT entry.booked_at, entry.session, entry.portfolio_id, entry.base_currency, entry.balance, trade.id
    FROM entry
    JOIN trade USING (execution_id)
    WHERE entry.balance IS NOT NULL
    ORDER BY n
), position AS (
    INSERT INTO positions_book (portfolio_id, ticker, quantity, updated_at, trade_id)
    SELECT entry.portfolio_id, entry.ticker, entry.held, entry.booked_at, trade.id
    FROM entry
    JOIN trade USING (execution_id)
    WHERE entry.held IS NOT NULL
    ORDER BY n
)
SELECT id FROM trade ORDER BY id
