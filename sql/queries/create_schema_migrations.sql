-- Purpose: the table of what ran; made before the first migration.
-- Locks: only a new table.
CREATE TABLE schema_migrations (
    name       varchar(100) COLLATE "C" PRIMARY KEY,
    checksum   varchar(64) COLLATE "C" NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
