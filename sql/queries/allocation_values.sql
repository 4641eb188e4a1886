-- Purpose: what portfolios were worth at the ends of their last sessions, oldest first: number of the session in the
-- list, equity, and all money that had come in.
-- Parameters: portfolio_ids (array), starts (array, rising: before the first bar of each session of the list), sessions
-- (how many at most), until (bars from here on are of later sessions).
-- Locks: none. Cost: the valuations of the sessions in the list.
SELECT portfolio.portfolio_id, latest.session, latest.equity, latest.equity - latest.notional
FROM unnest(%(portfolio_ids)s::text[]) AS portfolio (portfolio_id)
CROSS JOIN LATERAL (
    SELECT DISTINCT ON (width_bucket(bar_timestamp, %(starts)s::timestamptz[]))
        width_bucket(bar_timestamp, %(starts)s::timestamptz[]) AS session, equity, notional
    FROM pnl_book
    WHERE portfolio_id = portfolio.portfolio_id AND bar_timestamp >= (%(starts)s::timestamptz[])[1]
      AND bar_timestamp < %(until)s
    ORDER BY width_bucket(bar_timestamp, %(starts)s::timestamptz[]) DESC, bar_timestamp DESC
    LIMIT %(sessions)s
) AS latest
ORDER BY portfolio.portfolio_id, latest.session
