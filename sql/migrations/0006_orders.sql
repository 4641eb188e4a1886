-- Purpose: the whole life of an order: planned, sending, open, and how it trades; broker accounts; the state of the
-- paper broker, which lives in the database so that it survives restarts; which bar a valuation was made at.
-- Locks: decisions, orders, pnl_book, for a moment.

ALTER TABLE decisions
    -- a liquidation decides without the strategy, and in a halted portfolio
    ADD COLUMN kind varchar(16) NOT NULL DEFAULT 'strategy' CHECK (kind IN ('strategy', 'liquidation')),
    ADD COLUMN told_to bigint NOT NULL DEFAULT 0,     -- of orders.ended_number: what the strategy was told of
    ADD COLUMN valid_until timestamptz NOT NULL DEFAULT 'infinity',  -- its orders may be sent until then
    ADD COLUMN config_hash varchar(64) COLLATE "C",
    ADD COLUMN code_hash varchar(64) COLLATE "C",     -- of the file that the strategy came from
    ADD COLUMN window_hash varchar(64) COLLATE "C";   -- of the bars decided on

-- Numbers the ends of orders in the order in which they happened, whatever the clocks say.
CREATE SEQUENCE order_ends;

ALTER TABLE orders
    ADD COLUMN ended_number bigint,
    ADD COLUMN order_type varchar(16) NOT NULL DEFAULT 'market'
        CHECK (order_type IN ('market', 'limit', 'stop', 'stop_limit')),
    ADD COLUMN limit_price numeric CHECK (limit_price > 0),
    ADD COLUMN stop_price numeric CHECK (stop_price > 0),
    ADD COLUMN time_in_force varchar(4) NOT NULL DEFAULT 'DAY' CHECK (time_in_force IN ('DAY', 'GTC', 'IOC')),
    ADD COLUMN is_target boolean NOT NULL DEFAULT true,              -- on its way to a target (trading-rules 5)
    -- what was booked of it; a broker may fill too much, and a fill is a fact
    ADD COLUMN filled numeric NOT NULL DEFAULT 0 CHECK (filled >= 0),
    ADD COLUMN sent_at timestamptz,
    ADD COLUMN cancel_reason varchar(64),                            -- a cancel is wanted, and why
    DROP CONSTRAINT orders_state_check,
    DROP CONSTRAINT orders_check,
    DROP CONSTRAINT orders_check1,
    ALTER COLUMN reason TYPE varchar(200),
    ALTER COLUMN ticker TYPE varchar(64) COLLATE "C",
    ADD CONSTRAINT orders_state CHECK (state IN ('planned', 'sending', 'open', 'filled', 'ended')),
    ADD CONSTRAINT orders_end CHECK ((state IN ('filled', 'ended')) = (ended_at IS NOT NULL)),
    ADD CONSTRAINT orders_reason CHECK (state <> 'ended' OR reason IS NOT NULL),
    ADD CONSTRAINT orders_limit CHECK ((order_type IN ('limit', 'stop_limit')) = (limit_price IS NOT NULL)),
    ADD CONSTRAINT orders_stop CHECK ((order_type IN ('stop', 'stop_limit')) = (stop_price IS NOT NULL));

UPDATE orders SET ended_number = nextval('order_ends') WHERE ended_at IS NOT NULL;
DROP INDEX orders_ended;
CREATE INDEX orders_ended ON orders (portfolio_id, ended_number) WHERE reason IS NOT NULL;
DROP INDEX orders_open;
CREATE INDEX orders_open ON orders (portfolio_id, due_at, intent) WHERE ended_at IS NULL;

-- A broker account; how far its executions have been booked, moved on in the transaction that books them.
CREATE TABLE accounts (
    broker varchar(64) COLLATE "C" NOT NULL,
    account varchar(64) COLLATE "C" NOT NULL,
    booked_to varchar(200) COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (broker, account)
);
INSERT INTO accounts (broker, account) SELECT DISTINCT broker, account FROM portfolios;

-- The paper broker's side: what a real broker would keep. Written by it alone.
CREATE TABLE paper_orders (
    order_id varchar(48) COLLATE "C" PRIMARY KEY,
    account varchar(64) COLLATE "C" NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    ticker varchar(64) COLLATE "C" NOT NULL,
    side varchar(4) NOT NULL CHECK (side IN ('BUY', 'SELL')),
    quantity numeric NOT NULL CHECK (quantity > 0),
    order_type varchar(16) NOT NULL,
    limit_price numeric,
    stop_price numeric,
    time_in_force varchar(4) NOT NULL,
    accepted_at timestamptz NOT NULL,              -- trades in bars that open at this moment or later
    matched_to timestamptz,                        -- the newest bar in which it could trade
    matched_at timestamptz,                        -- the engine's moment when that was found out
    is_triggered boolean NOT NULL DEFAULT false,
    filled numeric NOT NULL DEFAULT 0 CHECK (filled >= 0 AND filled <= quantity),
    is_closed boolean NOT NULL DEFAULT false,
    reason varchar(200)                            -- why it, or the rest of it, closed without a fill
);
CREATE INDEX paper_orders_open ON paper_orders (account, number) WHERE NOT is_closed;

CREATE TABLE paper_executions (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account varchar(64) COLLATE "C" NOT NULL,
    execution_id varchar(64) COLLATE "C" NOT NULL UNIQUE,
    order_id varchar(48) COLLATE "C" NOT NULL REFERENCES paper_orders,
    ticker varchar(64) COLLATE "C" NOT NULL,
    side varchar(4) NOT NULL,
    quantity numeric NOT NULL CHECK (quantity > 0),
    price numeric NOT NULL CHECK (price > 0),
    fees numeric NOT NULL,
    arrival_price numeric NOT NULL,
    executed_at timestamptz NOT NULL,
    session date NOT NULL
);
CREATE INDEX paper_executions_account ON paper_executions (account, number);

-- The newest bar that a valuation saw: the same bar is not valued twice, whatever the clocks say.
ALTER TABLE pnl_book ADD COLUMN bar_timestamp timestamptz;
CREATE UNIQUE INDEX pnl_book_bar ON pnl_book (portfolio_id, bar_timestamp);
