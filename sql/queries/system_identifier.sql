-- Purpose: which data directory a server serves: its own number, as text (it exceeds a signed bigint), and its place.
-- Locks: none.
SELECT
    (system_identifier::numeric + CASE WHEN system_identifier < 0 THEN 18446744073709551616 ELSE 0 END)::text,
    current_setting('data_directory')
FROM pg_control_system()
