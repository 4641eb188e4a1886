-- Purpose: when a source was last asked for a ticker's splits and dividends, so that they are asked for again when due.
-- Locks: market_data_coverage, for a moment.

ALTER TABLE market_data_coverage ADD COLUMN actions_read_at timestamptz;
