-- Purpose: what was refused or mended of a ticker's rows when they were loaded, so that every later run can say it:
-- {"rows": looked at, "found": {code: {"rows": how many, "first": [[timestamp, values], ...]}}}.
-- Locks: market_data_coverage, for a moment; its rows are rewritten where a file was loaded.

ALTER TABLE market_data_coverage ADD COLUMN findings jsonb NOT NULL DEFAULT '{}';

-- What was found in files that were loaded before this is not known any more: they are read once again.
UPDATE market_data_coverage SET content_hash = NULL WHERE content_hash IS NOT NULL;
