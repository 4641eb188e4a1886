-- Purpose: open a portfolio: settle for ever whose books they are. One that is open stays as it is.
-- Parameters: portfolio_id, mode, broker, account, base_currency.
-- Locks: the new row.
INSERT INTO portfolios (portfolio_id, mode, broker, account, base_currency)
VALUES (%(portfolio_id)s, %(mode)s, %(broker)s, %(account)s, %(base_currency)s)
ON CONFLICT (portfolio_id) DO NOTHING
