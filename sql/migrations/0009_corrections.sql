-- Purpose: what a bar was before it was corrected or removed (trading-rules 4). Bars may change, what they were stays.
-- Locks: market_data, for a moment.
--
-- A trigger writes it, so that no way of changing a bar leaves it out, plain SQL included.

CREATE TABLE market_data_corrections (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    corrected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    source       varchar(64) COLLATE "C" NOT NULL,
    ticker       varchar(64) COLLATE "C" NOT NULL,
    bar_interval varchar(8) COLLATE "C" NOT NULL,
    timestamp    timestamptz NOT NULL,
    old_open     numeric NOT NULL,
    old_high     numeric NOT NULL,
    old_low      numeric NOT NULL,
    old_close    numeric NOT NULL,
    old_volume   bigint NOT NULL,
    -- Null: the bar was removed.
    new_open     numeric,
    new_high     numeric,
    new_low      numeric,
    new_close    numeric,
    new_volume   bigint
);
CREATE INDEX market_data_corrections_bar ON market_data_corrections (source, ticker, bar_interval, timestamp);

CREATE FUNCTION market_data_keep_old() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO market_data_corrections (
        source, ticker, bar_interval, timestamp, old_open, old_high, old_low, old_close, old_volume,
        new_open, new_high, new_low, new_close, new_volume
    )
    SELECT
        o.source, o.ticker, o.bar_interval, o.timestamp, o.open_price, o.high_price, o.low_price, o.close_price, o.volume,
        n.open_price, n.high_price, n.low_price, n.close_price, n.volume
    FROM old_rows AS o
    JOIN new_rows AS n USING (id)
    WHERE (o.source, o.ticker, o.bar_interval, o.timestamp, o.open_price, o.high_price, o.low_price, o.close_price, o.volume)
        <> (n.source, n.ticker, n.bar_interval, n.timestamp, n.open_price, n.high_price, n.low_price, n.close_price, n.volume);
    RETURN NULL;
END $$;

CREATE FUNCTION market_data_keep_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO market_data_corrections (
        source, ticker, bar_interval, timestamp, old_open, old_high, old_low, old_close, old_volume
    )
    SELECT source, ticker, bar_interval, timestamp, open_price, high_price, low_price, close_price, volume
    FROM old_rows;
    RETURN NULL;
END $$;

CREATE TRIGGER market_data_corrected AFTER UPDATE ON market_data
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION market_data_keep_old();
CREATE TRIGGER market_data_removed AFTER DELETE ON market_data
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION market_data_keep_removed();

CREATE TRIGGER market_data_corrections_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON market_data_corrections
    FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_change();
