-- Purpose: how many clients are connected to the whole server, those that only look after it left out.
-- Locks: none.
SELECT count(*)
FROM pg_stat_activity
WHERE backend_type = 'client backend' AND application_name <> 'engine-embedded'
