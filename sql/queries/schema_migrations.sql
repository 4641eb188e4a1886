-- Purpose: which migrations have run, in order.
-- Locks: none.
SELECT name, checksum FROM schema_migrations ORDER BY name
