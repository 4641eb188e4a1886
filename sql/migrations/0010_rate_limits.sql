-- Purpose: the pace of requests to an API, shared by all programs that use one key: a row per hash of a key.
-- Locks: only a new table.

CREATE TABLE rate_limits (
    key_hash varchar(64) COLLATE "C" PRIMARY KEY,
    -- When the next request that nobody has reserved may be sent.
    free_at  timestamptz NOT NULL
) WITH (fillfactor = 50);
