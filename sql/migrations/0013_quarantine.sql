-- Purpose: bars that were left out of market_data, with the values that they came with and why.
-- Locks: only a new table.
--
-- Values are as the source gave them, so nothing is asked of them: a missing one is NaN. A bar without a usable time
-- stands at -infinity. A row that comes again is the same row; seen_at is when it last came.

CREATE TABLE market_data_quarantine (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source        varchar(64) COLLATE "C" NOT NULL,
    ticker        varchar(64) COLLATE "C" NOT NULL,
    bar_interval  varchar(8) COLLATE "C" NOT NULL,
    timestamp     timestamptz NOT NULL,
    open_price    double precision NOT NULL,
    high_price    double precision NOT NULL,
    low_price     double precision NOT NULL,
    close_price   double precision NOT NULL,
    volume        double precision NOT NULL,
    code          varchar(64) COLLATE "C" NOT NULL CHECK (code <> ''),
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT market_data_quarantine_key UNIQUE
        (source, ticker, bar_interval, timestamp, open_price, high_price, low_price, close_price, volume)
);
