-- Purpose: the paper broker cancels what is left of an order; nothing where it is closed.
-- Parameters: account, order_id.
-- Locks: its row.
UPDATE paper_orders
SET is_closed = true, reason = 'cancelled'
WHERE account = %(account)s AND order_id = %(order_id)s AND NOT is_closed
