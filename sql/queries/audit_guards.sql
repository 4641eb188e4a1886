-- Purpose: the books that nothing protects from being changed: their trigger is missing or switched off.
-- Locks: none.
SELECT book.name
FROM unnest(ARRAY['trade_execution_logs', 'cash_equity_book', 'positions_book', 'pnl_book']) AS book (name)
WHERE NOT EXISTS (
    SELECT
    FROM pg_trigger
    WHERE tgrelid = to_regclass(book.name) AND tgname = book.name || '_append_only' AND tgenabled = 'A'
)
ORDER BY book.name
