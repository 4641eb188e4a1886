-- Purpose: the executions of a broker account are booked up to a place; nothing where somebody else has moved on.
-- Parameters: broker, account, before, place. To be run in the transaction that books them.
-- Locks: the account's row.
UPDATE accounts SET booked_to = %(place)s
WHERE broker = %(broker)s AND account = %(account)s AND booked_to = %(before)s
