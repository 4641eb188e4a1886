-- Purpose: state what of a ticker has been loaded, and what was wrong with it, in place of what was stated before.
-- Parameters: source, ticker, bar_interval, start_date, end_date, content_hash, findings (JSON), actions_read_at.
-- Locks: the row.
INSERT INTO market_data_coverage AS c (
    source, ticker, bar_interval, start_date, end_date, content_hash, findings, actions_read_at
)
VALUES (
    %(source)s, %(ticker)s, %(bar_interval)s, %(start_date)s, %(end_date)s, %(content_hash)s, %(findings)s::jsonb,
    %(actions_read_at)s
)
ON CONFLICT (source, ticker, bar_interval) DO UPDATE
SET start_date = excluded.start_date, end_date = excluded.end_date, content_hash = excluded.content_hash,
    findings = excluded.findings, actions_read_at = greatest(c.actions_read_at, excluded.actions_read_at),
    updated_at = clock_timestamp()
