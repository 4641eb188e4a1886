-- Purpose: orders for the opening and the closing auction.
-- Locks: orders, for a moment: the rows are looked at, which all pass.

ALTER TABLE orders
    DROP CONSTRAINT orders_time_in_force_check,
    ADD CONSTRAINT orders_time_in_force_check CHECK (time_in_force IN ('DAY', 'GTC', 'IOC', 'OPG', 'CLS'));
