-- Purpose: write a decision; nothing where this portfolio has decided for this moment already.
-- Parameters: portfolio_id, due_at, bar_timestamp, state (JSON text).
-- Locks: the new row.
INSERT INTO decisions (portfolio_id, due_at, bar_timestamp, state)
VALUES (%(portfolio_id)s, %(due_at)s, %(bar_timestamp)s, %(state)s::jsonb)
ON CONFLICT (portfolio_id, due_at) DO NOTHING;
