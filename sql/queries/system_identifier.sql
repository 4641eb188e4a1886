-- Purpose: the number that tells this data directory from all others, as text (it exceeds a signed bigint).
-- Locks: none.
SELECT (system_identifier::numeric + CASE WHEN system_identifier < 0 THEN 18446744073709551616 ELSE 0 END)::text
FROM pg_control_system()
