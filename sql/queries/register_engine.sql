-- Purpose: say that an engine has started, and forget those that nobody has seen for a month.
-- Parameters: holder, host, pid, version, config_name.
-- Locks: these rows.
WITH forgotten AS (
    DELETE FROM engines WHERE seen_at < clock_timestamp() - interval '30 days'
)
INSERT INTO engines (holder, host, pid, version, config_name)
VALUES (%(holder)s, %(host)s, %(pid)s, %(version)s, %(config_name)s)
ON CONFLICT (holder) DO UPDATE SET seen_at = clock_timestamp()  -- said before, and the answer was lost
