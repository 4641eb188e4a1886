-- Purpose: state what of a ticker has been loaded, in place of what was stated before.
-- Parameters: source, ticker, bar_interval, start_date, end_date, content_hash.
-- Locks: the row.
INSERT INTO market_data_coverage AS c (source, ticker, bar_interval, start_date, end_date, content_hash)
VALUES (%(source)s, %(ticker)s, %(bar_interval)s, %(start_date)s, %(end_date)s, %(content_hash)s)
ON CONFLICT (source, ticker, bar_interval) DO UPDATE
SET start_date = excluded.start_date, end_date = excluded.end_date,
    content_hash = excluded.content_hash, updated_at = clock_timestamp()
