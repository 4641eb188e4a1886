-- Purpose: the order journal: what was decided, and what became of each intent. A decision and all its intents are
-- committed together, before the first of them can trade.
-- Locks: portfolios, for a moment.

CREATE TABLE decisions (
    portfolio_id varchar(64) COLLATE "C" NOT NULL REFERENCES portfolios,
    due_at timestamptz NOT NULL,                  -- the moment decided for
    bar_timestamp timestamptz NOT NULL,           -- the newest bar decided on
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    state jsonb NOT NULL,                         -- what the strategy remembers from here on
    PRIMARY KEY (portfolio_id, due_at)
);

CREATE TABLE orders (
    order_id varchar(48) COLLATE "C" PRIMARY KEY, -- the client order id: a function of portfolio, due_at, intent
    portfolio_id varchar(64) COLLATE "C" NOT NULL,
    due_at timestamptz NOT NULL,
    intent integer NOT NULL,
    ticker varchar(32) COLLATE "C" NOT NULL,
    side varchar(4) NOT NULL CHECK (side IN ('BUY', 'SELL')),
    quantity numeric CHECK (quantity > 0 AND scale(quantity) <= 9),        -- null: never sized
    decision_price numeric CHECK (decision_price > 0),                     -- null: no price to decide on
    state varchar(16) NOT NULL CHECK (state IN ('open', 'filled', 'ended')),
    reason varchar(64),                           -- why it, or the rest of it, ended without a fill
    unfilled numeric NOT NULL DEFAULT 0 CHECK (unfilled >= 0),             -- what ended without a fill
    ended_at timestamptz,
    UNIQUE (portfolio_id, due_at, intent),
    FOREIGN KEY (portfolio_id, due_at) REFERENCES decisions,
    CHECK ((state = 'open') = (ended_at IS NULL)),
    CHECK (state <> 'ended' OR reason IS NOT NULL)
);

CREATE INDEX orders_open ON orders (portfolio_id, due_at, intent) WHERE state = 'open';
CREATE INDEX orders_ended ON orders (portfolio_id, ended_at) WHERE reason IS NOT NULL;

-- Six characters that tell these books from all others, in every order id that they make. They travel with a backup.
CREATE TABLE books_identity (
    books_id varchar(6) NOT NULL CHECK (books_id ~ '^[0-9a-f]{6}$'),
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only)
);
INSERT INTO books_identity (books_id) SELECT substr(replace(gen_random_uuid()::text, '-', ''), 1, 6);
