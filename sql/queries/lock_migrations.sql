-- Purpose: let one process migrate at a time, until its transaction ends. The number is "engine" in ASCII.
-- Locks: one advisory lock.
SELECT pg_advisory_xact_lock(111545069202021)
