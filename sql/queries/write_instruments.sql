-- Purpose: keep what a source says of tickers that nobody has said anything of; what is stated stays.
-- Parameters: tickers, currencies, exchanges (arrays of one length).
-- Locks: the new rows.
INSERT INTO instruments (ticker, currency, exchange)
SELECT * FROM unnest(%(tickers)s::text[], %(currencies)s::text[], %(exchanges)s::text[]) AS said
ORDER BY 1
ON CONFLICT (ticker) DO NOTHING
