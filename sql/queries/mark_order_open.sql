-- Purpose: the broker has the order.
-- Parameters: order_id.
-- Locks: its row.
UPDATE orders SET state = 'open' WHERE order_id = %(order_id)s AND state = 'sending'
