-- Purpose: whether the server refuses writes: a standby, or a read-only default.
-- Locks: none.
SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean
