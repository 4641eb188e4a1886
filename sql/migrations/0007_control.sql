-- Purpose: many engines on one database: who runs what (leases), what may not trade (halts), what operators ask
-- (commands), how engines and portfolios are (engines, engine_status), and notifications that wake the engines.
-- Locks: portfolios and market_data_version, for a moment.
--
-- All moments are of the database's clock, so engines need not agree on the time.

-- A lease is free when it was released or has expired; epoch rises whenever somebody takes it. The second unique key
-- makes a takeover (epoch changes) wait for transactions that hold the row FOR KEY SHARE, and a renewal (it does not)
-- pass them by.
CREATE TABLE leases (
    name        varchar(200) COLLATE "C" PRIMARY KEY CHECK (name <> ''),
    holder      varchar(200) COLLATE "C" NOT NULL CHECK (holder <> ''),
    epoch       bigint NOT NULL DEFAULT 1 CHECK (epoch > 0),
    acquired_at timestamptz NOT NULL,
    ttl_seconds double precision NOT NULL CHECK (ttl_seconds > 0),
    expires_at  timestamptz NOT NULL CHECK (isfinite(expires_at)),
    released_at timestamptz,
    UNIQUE (name, epoch)
);

-- A halt is in force until it is resumed; the rows stay and tell who did what, when and why. No portfolio: all of them,
-- those included that are opened later. Several reasons may be in force at once; each counts once.
CREATE TABLE halts (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    portfolio_id varchar(64) COLLATE "C" REFERENCES portfolios,
    reason       varchar(500) COLLATE "C" NOT NULL CHECK (reason <> ''),
    keep_orders  boolean NOT NULL DEFAULT false,  -- whether open orders were to stay open
    halted_by    varchar(200) NOT NULL,
    halted_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    resumed_by   varchar(200),
    resumed_at   timestamptz,
    CHECK ((resumed_by IS NULL) = (resumed_at IS NULL))
);
CREATE UNIQUE INDEX halts_in_force ON halts (portfolio_id, reason) NULLS NOT DISTINCT WHERE resumed_at IS NULL;

-- What an operator asks of the engine that holds a portfolio. taken_by and taken_epoch are those of its lease: whoever
-- holds it under a later epoch takes over what was left running.
CREATE TABLE commands (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         varchar(16) COLLATE "C" NOT NULL CHECK (kind IN ('halt', 'resume', 'liquidate')),
    portfolio_id varchar(64) COLLATE "C" NOT NULL REFERENCES portfolios,
    arguments    jsonb NOT NULL DEFAULT '{}',
    asked_by     varchar(200) NOT NULL,
    asked_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    take_until   timestamptz NOT NULL CHECK (isfinite(take_until)),
    state        varchar(16) COLLATE "C" NOT NULL DEFAULT 'waiting'
                 CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    taken_by     varchar(200) COLLATE "C",
    taken_epoch  bigint,
    taken_at     timestamptz,
    answered_at  timestamptz,
    answer       text,
    CHECK ((state IN ('done', 'failed')) = (answered_at IS NOT NULL)),
    CHECK ((answered_at IS NULL) = (answer IS NULL)),
    CHECK (state <> 'running' OR (taken_by IS NOT NULL AND taken_epoch IS NOT NULL AND taken_at IS NOT NULL))
);
CREATE INDEX commands_unanswered ON commands (portfolio_id, id) WHERE answered_at IS NULL;

CREATE TABLE engines (
    holder      varchar(200) COLLATE "C" PRIMARY KEY,
    host        varchar(200) NOT NULL,
    pid         integer NOT NULL,
    version     varchar(64) NOT NULL,
    config_name varchar(200) NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    stopped_at  timestamptz
);

-- How a portfolio is, as the engine that holds it said last.
CREATE TABLE engine_status (
    portfolio_id         varchar(64) COLLATE "C" PRIMARY KEY REFERENCES portfolios,
    holder               varchar(200) COLLATE "C" NOT NULL,
    state                varchar(16) COLLATE "C" NOT NULL
                         CHECK (state IN ('starting', 'waiting', 'deciding', 'halted', 'stopped')),
    state_since          timestamptz NOT NULL,
    reason               varchar(500),
    last_cycle_at        timestamptz,
    cycles               bigint NOT NULL CHECK (cycles >= 0),
    consecutive_failures integer NOT NULL CHECK (consecutive_failures >= 0),
    last_error           varchar(500),
    next_due_at          timestamptz,
    written_at           timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 70);

-- New or corrected bars. The version table has one row per ticker, not per bar, so this costs nothing in bulk loads.
CREATE FUNCTION engine_bars_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('engine_bars', each.payload)
    FROM (SELECT DISTINCT source || ' ' || bar_interval AS payload FROM new_rows) AS each;
    RETURN NULL;
END $$;

CREATE TRIGGER market_data_version_inserted AFTER INSERT ON market_data_version
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION engine_bars_notify();
CREATE TRIGGER market_data_version_updated AFTER UPDATE ON market_data_version
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION engine_bars_notify();

CREATE FUNCTION engine_commands_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('engine_commands', '');
    RETURN NULL;
END $$;

CREATE TRIGGER commands_inserted AFTER INSERT ON commands
    FOR EACH STATEMENT EXECUTE FUNCTION engine_commands_notify();
-- A resume or a halt by SQL wakes the engines as well.
CREATE TRIGGER halts_changed AFTER INSERT OR UPDATE ON halts
    FOR EACH STATEMENT EXECUTE FUNCTION engine_commands_notify();
