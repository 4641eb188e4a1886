-- Purpose: write a decision; nothing where this portfolio has decided for this moment already, or where it (or all) is
-- halted (only a liquidation may decide then), or where something was booked since the books were read for it.
-- Parameters: portfolio_id, kind, due_at, bar_timestamp, valid_until, told_to, state (JSON text), config_hash,
-- code_hash, window_hash, newest_trade (that was read; null: whatever was).
-- Locks: the new row. To be run under lock_portfolios.
INSERT INTO decisions (portfolio_id, kind, due_at, bar_timestamp, valid_until, told_to, state, config_hash, code_hash,
    window_hash)
SELECT %(portfolio_id)s, %(kind)s, %(due_at)s, %(bar_timestamp)s, %(valid_until)s, %(told_to)s, %(state)s::jsonb,
    %(config_hash)s, %(code_hash)s, %(window_hash)s
WHERE (%(kind)s = 'liquidation' OR NOT EXISTS (
    SELECT FROM halts WHERE resumed_at IS NULL AND (portfolio_id IS NULL OR portfolio_id = %(portfolio_id)s)
))
AND (%(newest_trade)s::bigint IS NULL OR %(newest_trade)s = (
    SELECT coalesce(max(id), 0) FROM trade_execution_logs WHERE portfolio_id = %(portfolio_id)s
))
ON CONFLICT (portfolio_id, due_at) DO NOTHING
