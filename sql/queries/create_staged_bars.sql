-- Purpose: where a load of bars lands before it meets market_data; prices times 1e9, volume in shares.
-- Locks: none that others see; gone with the transaction.
CREATE TEMPORARY TABLE staged_bars (
    code        int4 NOT NULL,
    timestamp   timestamptz NOT NULL,
    open_price  int8 NOT NULL,
    high_price  int8 NOT NULL,
    low_price   int8 NOT NULL,
    close_price int8 NOT NULL,
    volume      int8 NOT NULL
) ON COMMIT DROP
