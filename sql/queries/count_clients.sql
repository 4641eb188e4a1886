-- Purpose: how many clients are connected to the whole server, the asking one left out.
-- Locks: none.
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
