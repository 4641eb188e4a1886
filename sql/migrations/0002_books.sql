-- Purpose: the four books and the portfolios they belong to.
-- Locks: only new tables.
--
-- Numbers are never rounded here: money and prices have at most 6 decimals, quantities at most 9, and a value with more
-- is refused. The bounds also refuse NaN and Infinity, which sort above every number.
-- timestamp and updated_at are booking time, exec_timestamp is business time (trading-rules 3). The order of a book is
-- (timestamp, id).

CREATE TABLE portfolios (
    portfolio_id  varchar(64) COLLATE "C" PRIMARY KEY CHECK (portfolio_id <> ''),
    mode          varchar(16) COLLATE "C" NOT NULL CHECK (mode IN ('paper', 'live', 'replay')),
    broker        varchar(64) COLLATE "C" NOT NULL,
    account       varchar(64) COLLATE "C" NOT NULL,
    base_currency varchar(3) COLLATE "C" NOT NULL CHECK (base_currency ~ '^[A-Z]{3}$'),
    opened_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE trade_execution_logs (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    portfolio_id   varchar(64) COLLATE "C" NOT NULL REFERENCES portfolios,
    ticker         varchar(64) COLLATE "C" NOT NULL,
    exec_timestamp timestamptz NOT NULL CHECK (isfinite(exec_timestamp)),
    side           varchar(4) COLLATE "C" NOT NULL CHECK (side IN ('BUY', 'SELL')),
    quantity       numeric NOT NULL CHECK (quantity >= 0 AND quantity < 1e18 AND min_scale(quantity) <= 9),
    arrival_price  numeric CHECK (arrival_price >= 0 AND arrival_price < 1e18 AND min_scale(arrival_price) <= 6),
    exec_price     numeric NOT NULL CHECK (exec_price >= 0 AND exec_price < 1e18 AND min_scale(exec_price) <= 6),
    slippage_bps   numeric CHECK (slippage_bps > -1e12 AND slippage_bps < 1e12),
    notional       numeric NOT NULL CHECK (notional >= 0 AND notional < 1e18 AND min_scale(notional) <= 6),
    notional_local numeric NOT NULL
                   CHECK (notional_local >= 0 AND notional_local < 1e18 AND min_scale(notional_local) <= 6),
    currency       varchar(3) COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    fx_rate        numeric NOT NULL DEFAULT 1 CHECK (fx_rate > 0 AND fx_rate < 1e12),
    kind           varchar(16) COLLATE "C" NOT NULL CHECK (kind IN (
                       'trade', 'deposit', 'withdrawal', 'transfer', 'dividend', 'interest', 'fee', 'borrow', 'tax',
                       'adjustment', 'adopt', 'split', 'rename')),
    fees           numeric NOT NULL DEFAULT 0 CHECK (fees > -1e18 AND fees < 1e18 AND min_scale(fees) <= 6),
    execution_id   varchar(200) COLLATE "C" NOT NULL CHECK (execution_id <> ''),
    order_id       varchar(64) COLLATE "C",
    for_ticker     varchar(64) COLLATE "C",
    decision_price numeric CHECK (decision_price >= 0 AND decision_price < 1e18 AND min_scale(decision_price) <= 6),
    CONSTRAINT trade_execution_logs_execution_id_key UNIQUE (execution_id)
);
CREATE INDEX trade_execution_logs_portfolio ON trade_execution_logs (portfolio_id, id);
CREATE INDEX trade_execution_logs_time ON trade_execution_logs (portfolio_id, exec_timestamp, id);

CREATE TABLE cash_equity_book (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    timestamp    timestamptz NOT NULL CHECK (isfinite(timestamp)),
    date         date NOT NULL,
    portfolio_id varchar(64) COLLATE "C" NOT NULL REFERENCES portfolios,
    currency     varchar(3) COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    notional     numeric NOT NULL CHECK (notional > -1e18 AND notional < 1e18 AND min_scale(notional) <= 6),
    trade_id     bigint UNIQUE REFERENCES trade_execution_logs
);
CREATE INDEX cash_equity_book_latest ON cash_equity_book (portfolio_id, timestamp DESC, id DESC);

CREATE TABLE positions_book (
    position_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    portfolio_id varchar(64) COLLATE "C" NOT NULL REFERENCES portfolios,
    ticker       varchar(64) COLLATE "C" NOT NULL CHECK (ticker !~ '_CASH$'),
    quantity     numeric NOT NULL CHECK (quantity > -1e18 AND quantity < 1e18 AND min_scale(quantity) <= 9),
    updated_at   timestamptz NOT NULL CHECK (isfinite(updated_at)),
    trade_id     bigint UNIQUE REFERENCES trade_execution_logs
);
CREATE INDEX positions_book_latest ON positions_book (portfolio_id, ticker, updated_at DESC, position_id DESC);

CREATE TABLE pnl_book (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    portfolio_id varchar(64) COLLATE "C" NOT NULL REFERENCES portfolios,
    timestamp    timestamptz NOT NULL CHECK (isfinite(timestamp)),
    notional     numeric NOT NULL CHECK (notional > -1e18 AND notional < 1e18 AND min_scale(notional) <= 6),
    equity       numeric NOT NULL CHECK (equity > -1e18 AND equity < 1e18 AND min_scale(equity) <= 6),
    realised     numeric NOT NULL CHECK (realised > -1e18 AND realised < 1e18 AND min_scale(realised) <= 6),
    unrealised   numeric NOT NULL CHECK (unrealised > -1e18 AND unrealised < 1e18 AND min_scale(unrealised) <= 6),
    income       numeric NOT NULL CHECK (income > -1e18 AND income < 1e18 AND min_scale(income) <= 6),
    costs        numeric NOT NULL CHECK (costs > -1e18 AND costs < 1e18 AND min_scale(costs) <= 6),
    CHECK (realised + unrealised + income - costs = notional)
);
CREATE INDEX pnl_book_latest ON pnl_book (portfolio_id, timestamp DESC, id DESC);
