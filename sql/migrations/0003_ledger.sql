-- Purpose: what the ledger needs: the booking time of a trade row, a note, and books that nobody can change.
-- Locks: the four books and portfolios, for a moment.
--
-- What is booked stays. The triggers hold for everyone, the owner and superusers included, and in every replication role
-- (ALWAYS); the role that owns the books loses the rights as well, so that a change would take two deliberate steps.

ALTER TABLE trade_execution_logs
    ADD COLUMN booked_at timestamptz CHECK (isfinite(booked_at)),
    ADD COLUMN note varchar(500);

CREATE FUNCTION books_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the books are append-only; book a correction or an adjustment instead',
        TG_OP, TG_TABLE_NAME USING ERRCODE = '2F002';
END $$;

CREATE TRIGGER trade_execution_logs_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON trade_execution_logs
    FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_change();
CREATE TRIGGER cash_equity_book_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON cash_equity_book
    FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_change();
CREATE TRIGGER positions_book_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON positions_book
    FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_change();
CREATE TRIGGER pnl_book_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON pnl_book
    FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_change();

ALTER TABLE trade_execution_logs ENABLE ALWAYS TRIGGER trade_execution_logs_append_only;
ALTER TABLE cash_equity_book ENABLE ALWAYS TRIGGER cash_equity_book_append_only;
ALTER TABLE positions_book ENABLE ALWAYS TRIGGER positions_book_append_only;
ALTER TABLE pnl_book ENABLE ALWAYS TRIGGER pnl_book_append_only;

REVOKE UPDATE, DELETE, TRUNCATE ON trade_execution_logs, cash_equity_book, positions_book, pnl_book
    FROM PUBLIC, CURRENT_USER;
-- A foreign key locks the row that it refers to, which takes the right to update some column of it; this one is
-- generated always, so nothing can be written into it.
GRANT UPDATE (id) ON trade_execution_logs TO CURRENT_USER;

-- Whose books they are is settled when a portfolio is opened.
CREATE FUNCTION portfolios_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.portfolio_id, NEW.mode, NEW.broker, NEW.account, NEW.base_currency)
        IS DISTINCT FROM (OLD.portfolio_id, OLD.mode, OLD.broker, OLD.account, OLD.base_currency)
    THEN
        RAISE EXCEPTION 'portfolio % keeps its mode, broker, account and currency for ever; open another portfolio',
            OLD.portfolio_id USING ERRCODE = '2F002';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER portfolios_keep_their_identity BEFORE UPDATE ON portfolios
    FOR EACH ROW EXECUTE FUNCTION portfolios_refuse_change();
