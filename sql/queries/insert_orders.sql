-- Purpose: write the intents of a decision, refused ones included.
-- Parameters: arrays of one length, order_ids … ended_at; portfolio_id and due_at of the decision.
-- Locks: the new rows.
INSERT INTO orders (order_id, portfolio_id, due_at, intent, ticker, side, quantity, decision_price, state, reason,
    unfilled, ended_at)
SELECT order_id, %(portfolio_id)s, %(due_at)s, intent, ticker, side, quantity, decision_price, state, reason,
    unfilled, CASE WHEN state = 'open' THEN NULL ELSE %(due_at)s::timestamptz END
FROM unnest(%(order_ids)s::text[], %(intents)s::integer[], %(tickers)s::text[], %(sides)s::text[],
    %(quantities)s::numeric[], %(decision_prices)s::numeric[], %(states)s::text[], %(reasons)s::text[],
    %(unfilled)s::numeric[]
) AS given (order_id, intent, ticker, side, quantity, decision_price, state, reason, unfilled);
