-- Purpose: write executions of a paper account, in order.
-- Parameters: account; arrays of one length: execution_ids, order_ids, tickers, sides, quantities, prices, fees,
-- arrival_prices, executed_at, sessions.
-- Locks: the new rows.
INSERT INTO paper_executions (account, execution_id, order_id, ticker, side, quantity, price, fees, arrival_price,
    executed_at, session)
SELECT %(account)s, execution_id, order_id, ticker, side, quantity, price, fees, arrival_price, executed_at, session
FROM unnest(%(execution_ids)s::text[], %(order_ids)s::text[], %(tickers)s::text[], %(sides)s::text[],
    %(quantities)s::numeric[], %(prices)s::numeric[], %(fees)s::numeric[], %(arrival_prices)s::numeric[],
    %(executed_at)s::timestamptz[], %(sessions)s::date[]
) WITH ORDINALITY AS given (execution_id, order_id, ticker, side, quantity, price, fees, arrival_price, executed_at,
    session, n)
ORDER BY n
