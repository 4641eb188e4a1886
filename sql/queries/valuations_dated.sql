-- Purpose: a portfolio's valuations of a range of dates, and with them the one before; the date is the UTC date of the
-- newest bar that the valuation saw. With each, the cash that it saw.
-- Parameters: portfolio_id, start, until (dates, both included; null: open).
-- Locks: none. Cost: the portfolio's valuations, and an index entry for the cash of each.
WITH dated AS (
    SELECT
        id, timestamp, notional, equity, realised, unrealised, income, costs, bar_timestamp,
        (coalesce(bar_timestamp, timestamp) AT TIME ZONE 'UTC')::date AS day
    FROM pnl_book
    WHERE portfolio_id = %(portfolio_id)s
)
SELECT
    timestamp, notional, equity, realised, unrealised, income, costs, bar_timestamp, day,
    day >= coalesce(%(start)s::date, '-infinity') AS is_inside,
    coalesce((
        SELECT cash.notional FROM cash_equity_book AS cash
        WHERE cash.portfolio_id = %(portfolio_id)s AND cash.timestamp <= dated.timestamp
        ORDER BY cash.timestamp DESC, cash.id DESC
        LIMIT 1
    ), 0) AS cash
FROM dated
WHERE day <= coalesce(%(until)s::date, 'infinity')
  AND (
      day >= coalesce(%(start)s::date, '-infinity')
      OR id = (
          SELECT id FROM dated AS former WHERE former.day < %(start)s::date ORDER BY former.timestamp DESC, former.id DESC
          LIMIT 1
      )
  )
ORDER BY timestamp, id
