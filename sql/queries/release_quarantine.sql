-- Purpose: let go of what this transaction has not seen again and what is not wanted any more: a bar of whose time another
-- was accepted, and of a file (whole) every bar that it does not have any more. A conflicting duplicate has always had
-- another bar in its place, and stays.
-- Parameters: source, bar_interval, tickers (array), whole (boolean).
-- Locks: the rows. Cost: one index lookup per bar in quarantine.
DELETE FROM market_data_quarantine AS q
WHERE source = %(source)s AND bar_interval = %(bar_interval)s AND ticker = ANY (%(tickers)s) AND seen_at < now()
  AND (%(whole)s OR code <> 'conflicting duplicate' AND EXISTS (
      SELECT FROM market_data AS bar
      WHERE bar.source = q.source AND bar.ticker = q.ticker AND bar.bar_interval = q.bar_interval
        AND bar.timestamp = q.timestamp
  ))
