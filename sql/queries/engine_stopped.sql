-- Purpose: say that an engine has stopped.
-- Parameters: holder.
-- Locks: this row.
UPDATE engines SET seen_at = clock_timestamp(), stopped_at = clock_timestamp() WHERE holder = %(holder)s
