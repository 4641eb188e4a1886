-- Purpose: allocations: what was decided for which portfolio, and what moved. What moves is booked in the books, in the
-- same transaction; an allocation happens once per run id.
-- Locks: only new tables.

CREATE TABLE allocations (
    run_id      varchar(120) COLLATE "C" PRIMARY KEY CHECK (run_id <> ''),
    allocator   varchar(80) COLLATE "C" NOT NULL,    -- config and allocator
    due_at      timestamptz NOT NULL CHECK (isfinite(due_at)),
    session     date NOT NULL,
    booked_at   timestamptz NOT NULL,                -- the engine's clock
    total       numeric NOT NULL CHECK (total < 1e18 AND min_scale(total) <= 6),
    made_by     varchar(120) NOT NULL,
    id          bigint GENERATED ALWAYS AS IDENTITY UNIQUE
);

CREATE TABLE allocation_targets (
    run_id       varchar(120) COLLATE "C" NOT NULL REFERENCES allocations,
    portfolio_id varchar(64) COLLATE "C" NOT NULL REFERENCES portfolios,
    allocation   bigint NOT NULL REFERENCES allocations (id),   -- rises with every allocation
    equity       numeric NOT NULL CHECK (equity > -1e18 AND equity < 1e18 AND min_scale(equity) <= 6),
    target       numeric NOT NULL CHECK (target > -1e18 AND target < 1e18 AND min_scale(target) <= 6),
    transfer     numeric NOT NULL CHECK (transfer > -1e18 AND transfer < 1e18 AND min_scale(transfer) <= 6),
    shortfall    numeric NOT NULL CHECK (shortfall >= 0 AND shortfall < 1e18 AND min_scale(shortfall) <= 6),
    is_limit     boolean NOT NULL,                   -- the target limits what the portfolio sizes its own on
    PRIMARY KEY (run_id, portfolio_id)
);
CREATE INDEX allocation_targets_latest ON allocation_targets (portfolio_id, allocation DESC);

CREATE TRIGGER allocations_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON allocations
    FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_change();
CREATE TRIGGER allocation_targets_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON allocation_targets
    FOR EACH STATEMENT EXECUTE FUNCTION books_refuse_change();
ALTER TABLE allocations ENABLE ALWAYS TRIGGER allocations_append_only;
ALTER TABLE allocation_targets ENABLE ALWAYS TRIGGER allocation_targets_append_only;
