-- Purpose: whether the table of migrations is there, as the search path sees it. Asks the catalogue itself: to_regclass
-- may answer from a cache that is older than a lock this transaction has just waited for.
-- Locks: none.
SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'schema_migrations' AND pg_table_is_visible(oid))
