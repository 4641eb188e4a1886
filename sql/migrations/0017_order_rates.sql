-- Purpose: what a unit of an order's currency was worth in its portfolio's when it was decided: open buys speak for cash
-- of the portfolio, and until now a foreign one spoke for as many units of another currency.
-- Locks: orders, for a moment.

ALTER TABLE orders
    ADD COLUMN decision_rate numeric NOT NULL DEFAULT 1 CHECK (decision_rate > 0 AND decision_rate < 1e12);
