-- Purpose: of tickers whose splits and dividends a source has just stated, those go that it states no longer, or
-- otherwise; which they were. What somebody has added by hand, or has set to be ignored, stays.
-- Parameters: source, tickers (array); stated_tickers, ex_dates, kinds, amounts (arrays of one length).
-- Locks: the rows, until the transaction ends.
DELETE FROM corporate_actions AS known
WHERE source = %(source)s AND ticker = ANY (%(tickers)s) AND is_stated AND NOT is_ignored
  AND NOT EXISTS (
      SELECT
      FROM unnest(%(stated_tickers)s::text[], %(ex_dates)s::date[], %(kinds)s::text[], %(amounts)s::numeric[])
          AS stated (ticker, ex_date, kind, amount)
      WHERE stated.ticker = known.ticker AND stated.ex_date = known.ex_date AND stated.kind = known.kind
        AND stated.amount = known.value
  )
RETURNING ticker, ex_date, kind, value
