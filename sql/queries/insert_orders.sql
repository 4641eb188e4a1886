-- Purpose: write the intents of a decision, refused ones included.
-- Parameters: arrays of one length, order_ids … unfilled; portfolio_id and due_at of the decision.
-- Locks: the new rows. Those that are refused end in one call, and get one number.
WITH drawn AS MATERIALIZED (SELECT nextval('order_ends') AS number)
INSERT INTO orders (order_id, portfolio_id, due_at, intent, ticker, side, quantity, decision_price,
    decision_rate, order_type, limit_price, stop_price, time_in_force, is_target, state, reason, unfilled, ended_at,
    ended_number)
SELECT order_id, %(portfolio_id)s, %(due_at)s, intent, ticker, side, quantity, decision_price, decision_rate, order_type,
    limit_price, stop_price, time_in_force, is_target, state, reason, unfilled,
    CASE WHEN state = 'planned' THEN NULL ELSE %(due_at)s::timestamptz END,
    CASE WHEN state = 'planned' THEN NULL ELSE (SELECT number FROM drawn) END
FROM unnest(%(order_ids)s::text[], %(intents)s::integer[], %(tickers)s::text[], %(sides)s::text[],
    %(quantities)s::numeric[], %(decision_prices)s::numeric[], %(decision_rates)s::numeric[], %(order_types)s::text[],
    %(limit_prices)s::numeric[], %(stop_prices)s::numeric[], %(times_in_force)s::text[], %(are_targets)s::boolean[], %(states)s::text[],
    %(reasons)s::text[], %(unfilled)s::numeric[]
) AS given (order_id, intent, ticker, side, quantity, decision_price, decision_rate, order_type, limit_price,
    stop_price, time_in_force, is_target, state, reason, unfilled)
