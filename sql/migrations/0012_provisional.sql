-- Purpose: bars that are being made of quotes, as far as they are; market_data never has an unfinished one
-- (trading-rules 4). One row per ticker: the bar that its newest quote is in, written to market_data or not yet.
-- Locks: only a new table.

CREATE TABLE market_data_provisional (
    source       varchar(64) COLLATE "C" NOT NULL,
    ticker       varchar(64) COLLATE "C" NOT NULL,
    bar_interval varchar(8) COLLATE "C" NOT NULL,
    timestamp    timestamptz NOT NULL,
    open_price   float8 NOT NULL,
    high_price   float8 NOT NULL,
    low_price    float8 NOT NULL,
    close_price  float8 NOT NULL,
    volume       float8 NOT NULL,
    -- Of the newest quote: shares of its session so far, and its time.
    day_volume   float8 NOT NULL,
    quoted_at    timestamptz NOT NULL,
    -- When the source was last asked.
    polled_at    timestamptz NOT NULL,
    is_written   boolean NOT NULL,
    PRIMARY KEY (source, ticker, bar_interval)
) WITH (fillfactor = 70);
