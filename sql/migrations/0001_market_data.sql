-- Purpose: market data: bars as traded, what adjusts them, what has been loaded, and a version for caches.
-- Locks: only new tables.
--
-- Prices are numeric with at most 9 decimals and below 9.2e9, so that price * 1e9 fits a bigint: this is how bars are
-- read in bulk. NaN and Infinity sort above every number, hence the upper bound refuses them too.

CREATE TABLE market_data (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ticker       varchar(64) COLLATE "C" NOT NULL CHECK (ticker <> ''),
    timestamp    timestamptz NOT NULL CHECK (isfinite(timestamp)),
    open_price   numeric NOT NULL,
    high_price   numeric NOT NULL,
    low_price    numeric NOT NULL,
    close_price  numeric NOT NULL,
    volume       bigint NOT NULL,
    bar_interval varchar(8) COLLATE "C" NOT NULL
                 CHECK (bar_interval IN ('1min', '5min', '15min', '30min', '1h', '4h', '1d')),
    source       varchar(64) COLLATE "C" NOT NULL CHECK (source <> ''),
    CONSTRAINT market_data_bar_is_plausible CHECK (
        low_price > 0 AND high_price < 9200000000 AND volume >= 0
        AND open_price BETWEEN low_price AND high_price
        AND close_price BETWEEN low_price AND high_price
    ),
    CONSTRAINT market_data_prices_have_9_decimals CHECK (
        scale(open_price) <= 9 AND scale(high_price) <= 9 AND scale(low_price) <= 9 AND scale(close_price) <= 9
    ),
    CONSTRAINT market_data_key UNIQUE (source, ticker, bar_interval, timestamp)
);

CREATE TABLE market_data_version (
    source       varchar(64) COLLATE "C" NOT NULL,
    ticker       varchar(64) COLLATE "C" NOT NULL,
    bar_interval varchar(8) COLLATE "C" NOT NULL,
    version      bigint NOT NULL DEFAULT 1,
    changed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (source, ticker, bar_interval)
);

-- Keys are taken in order, so that two writers of the same tickers wait for each other instead of deadlocking.
CREATE FUNCTION market_data_touch_new() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO market_data_version AS v (source, ticker, bar_interval)
    SELECT DISTINCT source, ticker, bar_interval FROM new_rows ORDER BY source, ticker, bar_interval
    ON CONFLICT (source, ticker, bar_interval)
    DO UPDATE SET version = v.version + 1, changed_at = clock_timestamp();
    RETURN NULL;
END $$;

CREATE FUNCTION market_data_touch_old() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO market_data_version AS v (source, ticker, bar_interval)
    SELECT DISTINCT source, ticker, bar_interval FROM old_rows ORDER BY source, ticker, bar_interval
    ON CONFLICT (source, ticker, bar_interval)
    DO UPDATE SET version = v.version + 1, changed_at = clock_timestamp();
    RETURN NULL;
END $$;

CREATE FUNCTION market_data_touch_both() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO market_data_version AS v (source, ticker, bar_interval)
    SELECT source, ticker, bar_interval FROM old_rows UNION SELECT source, ticker, bar_interval FROM new_rows
    ORDER BY source, ticker, bar_interval
    ON CONFLICT (source, ticker, bar_interval)
    DO UPDATE SET version = v.version + 1, changed_at = clock_timestamp();
    RETURN NULL;
END $$;

CREATE FUNCTION market_data_touch_all() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE market_data_version SET version = version + 1, changed_at = clock_timestamp();
    RETURN NULL;
END $$;

CREATE TRIGGER market_data_inserted AFTER INSERT ON market_data
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION market_data_touch_new();
CREATE TRIGGER market_data_updated AFTER UPDATE ON market_data
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION market_data_touch_both();
CREATE TRIGGER market_data_deleted AFTER DELETE ON market_data
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION market_data_touch_old();
CREATE TRIGGER market_data_truncated AFTER TRUNCATE ON market_data
    FOR EACH STATEMENT EXECUTE FUNCTION market_data_touch_all();

-- What of a source has been loaded: every bar it has from start_date to end_date, both included, exchange dates.
CREATE TABLE market_data_coverage (
    source       varchar(64) COLLATE "C" NOT NULL,
    ticker       varchar(64) COLLATE "C" NOT NULL,
    bar_interval varchar(8) COLLATE "C" NOT NULL,
    start_date   date NOT NULL,
    end_date     date NOT NULL,
    content_hash varchar(128) COLLATE "C",
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (source, ticker, bar_interval),
    CHECK (start_date <= end_date)
);

-- A split's value is new shares per old share; a dividend's is cash per share of that day.
CREATE TABLE corporate_actions (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source  varchar(64) COLLATE "C" NOT NULL,
    ticker  varchar(64) COLLATE "C" NOT NULL,
    ex_date date NOT NULL,
    kind    varchar(16) COLLATE "C" NOT NULL CHECK (kind IN ('split', 'dividend')),
    value   numeric NOT NULL CHECK (value > 0 AND value < 1e12 AND min_scale(value) <= 12),
    CONSTRAINT corporate_actions_key UNIQUE (source, ticker, ex_date, kind)
);

CREATE TABLE instruments (
    ticker   varchar(64) COLLATE "C" PRIMARY KEY CHECK (ticker <> ''),
    currency varchar(3) COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    lot_size numeric NOT NULL DEFAULT 1 CHECK (lot_size > 0 AND lot_size < 1e9 AND min_scale(lot_size) <= 9),
    exchange varchar(16) COLLATE "C" NOT NULL
);
