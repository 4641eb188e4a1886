-- Purpose: how far the executions of a broker account have been booked.
-- Parameters: broker, account.
-- Locks: none.
SELECT booked_to FROM accounts WHERE broker = %(broker)s AND account = %(account)s
