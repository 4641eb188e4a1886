-- Purpose: whether the application's role and database exist in an embedded server.
-- Parameters: role, database.
-- Locks: none.
SELECT
    EXISTS (SELECT FROM pg_roles WHERE rolname = %(role)s),
    EXISTS (SELECT FROM pg_database WHERE datname = %(database)s)
