-- Purpose: from which valuation on drawdown is measured again after a halt by a risk rule was ended: without it the rule
-- would halt the portfolio again at its next decision, for the same loss.
-- Locks: halts, for a moment.

ALTER TABLE halts ADD COLUMN measured_from bigint;  -- pnl_book.id: the newest valuation, of any portfolio, at that moment
