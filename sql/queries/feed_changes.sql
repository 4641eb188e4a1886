-- Purpose: whether anything of some tickers has changed: the sum of the versions of their bars, which only grows, and
-- the number and a hash of their splits and dividends after a date.
-- Parameters: source, bar_interval, tickers (array), since (date).
-- Locks: none. Cost: one index entry per ticker, one row per action after the date.
SELECT
    (
        SELECT coalesce(sum(version), 0)::bigint
        FROM market_data_version
        WHERE source = %(source)s AND bar_interval = %(bar_interval)s AND ticker = ANY (%(tickers)s)
    ),
    count(*),
    bit_xor(hash_record_extended(ROW (ticker, ex_date, kind, value), 0))
FROM corporate_actions
WHERE source = %(source)s AND ticker = ANY (%(tickers)s) AND ex_date > %(since)s AND NOT is_ignored
