-- Purpose: whether the table of migrations is there, as the search path sees it.
-- Locks: none.
SELECT to_regclass('schema_migrations') IS NOT NULL
