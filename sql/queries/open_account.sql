-- Purpose: know a broker account; nothing where it is known.
-- Parameters: broker, account.
-- Locks: the new row.
INSERT INTO accounts (broker, account) VALUES (%(broker)s, %(account)s) ON CONFLICT DO NOTHING
