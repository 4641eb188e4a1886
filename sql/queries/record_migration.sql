-- Purpose: note that a migration ran.
-- Parameters: name, checksum.
-- Locks: none beyond the row.
INSERT INTO schema_migrations (name, checksum) VALUES (%(name)s, %(checksum)s)
