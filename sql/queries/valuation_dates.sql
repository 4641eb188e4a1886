-- Purpose: the first and the last date on which a portfolio was valued, as valuations_dated has them, and when the first
-- valuation was booked; null: never.
-- Parameters: portfolio_id.
-- Locks: none. Cost: the portfolio's valuations.
SELECT
    min((coalesce(bar_timestamp, timestamp) AT TIME ZONE 'UTC')::date),
    max((coalesce(bar_timestamp, timestamp) AT TIME ZONE 'UTC')::date),
    min(timestamp)
FROM pnl_book
WHERE portfolio_id = %(portfolio_id)s
