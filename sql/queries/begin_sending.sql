-- Purpose: note that the request of an order is about to leave; nothing where it must not: it was answered, or has
-- ended, or a cancel is wanted; its decision is no longer valid; or its portfolio (or all) is halted, unless a
-- liquidation made it.
-- Parameters: order_id, now.
-- Locks: the order's row.
UPDATE orders
SET state = 'sending', sent_at = coalesce(orders.sent_at, %(now)s)
FROM decisions
WHERE orders.order_id = %(order_id)s
    AND orders.state IN ('planned', 'sending')
    AND orders.cancel_reason IS NULL
    AND decisions.portfolio_id = orders.portfolio_id AND decisions.due_at = orders.due_at
    AND decisions.valid_until > %(now)s
    AND (decisions.kind = 'liquidation' OR NOT EXISTS (
        SELECT FROM halts WHERE resumed_at IS NULL AND (portfolio_id IS NULL OR portfolio_id = orders.portfolio_id)
    ))
