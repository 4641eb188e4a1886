-- Purpose: the first and the last date on which a portfolio was valued, as valuations_dated has them, when the first
-- valuation was booked, and the first bar that one saw; null: never.
-- Parameters: portfolio_id.
-- Locks: none. Cost: the portfolio's valuations.
SELECT
    min((coalesce(bar_timestamp, timestamp) AT TIME ZONE 'UTC')::date),
    max((coalesce(bar_timestamp, timestamp) AT TIME ZONE 'UTC')::date),
    min(timestamp),
    min(coalesce(bar_timestamp, timestamp))
FROM pnl_book
WHERE portfolio_id = %(portfolio_id)s
