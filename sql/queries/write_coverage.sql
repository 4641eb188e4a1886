-- Purpose: state what of a ticker has been loaded, and what was wrong with it, in place of what was stated before.
-- Parameters: source, ticker, bar_interval, start_date, end_date, content_hash, findings (JSON).
-- Locks: the row.
INSERT INTO market_data_coverage AS c (source, ticker, bar_interval, start_date, end_date, content_hash, findings)
VALUES (%(source)s, %(ticker)s, %(bar_interval)s, %(start_date)s, %(end_date)s, %(content_hash)s,
        %(findings)s::jsonb)
ON CONFLICT (source, ticker, bar_interval) DO UPDATE
SET start_date = excluded.start_date, end_date = excluded.end_date,
    content_hash = excluded.content_hash, findings = excluded.findings, updated_at = clock_timestamp()
