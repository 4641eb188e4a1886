"""How long the audit takes to prove a long history.

    python bench/audit.py [--trades 1000000] [--portfolios 10] [--tickers 50] [--url URL] [--json]

Makes portfolios with so many trades in all (fills of 50 tickers, every tenth a dividend), proves them, and then breaks
one cash row in the last tenth of the history and proves that the audit names it. Limit: a million trades in 30 s.
Without ``--url`` a throw-away embedded server is used; with it the role must own the tables.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from servers import server

from framework.books.audit import audit
from framework.books.lots import Lots
from framework.books.valuation import catch_up
from framework.db.database import upgrade
from framework.db.pool import Pool

LIMIT_SECONDS = 30.0

FILL = """
INSERT INTO portfolios SELECT p::text, 'paper', 'bench', 'bench', 'USD' FROM generate_series(1, %(portfolios)s) AS p;
INSERT INTO trade_execution_logs (
    portfolio_id, ticker, exec_timestamp, side, quantity, arrival_price, exec_price, slippage_bps, notional,
    notional_local, currency, kind, fees, execution_id, booked_at
)
SELECT
    (k %% %(portfolios)s + 1)::text,
    CASE WHEN money THEN 'USD_CASH' ELSE 'T' || lpad((k * 7 %% %(tickers)s)::text, 4, '0') END,
    moment,
    CASE WHEN money OR k %% 3 > 0 THEN 'BUY' ELSE 'SELL' END,
    quantity, price, price, 0, quantity * price, quantity * price, 'USD',
    CASE WHEN money THEN 'dividend' ELSE 'trade' END,
    CASE WHEN money THEN 0 ELSE 0.25 END,
    'fill:bench:account:' || k,
    moment
FROM (
    SELECT
        k,
        k %% 10 = 0 AS money,
        CASE WHEN k %% 10 = 0 THEN 1.0 ELSE 20 + k %% 1000 / 8.0 END AS price,
        1.0 + k %% 97 AS quantity,
        '2020-01-01Z'::timestamptz + k * interval '1 second' AS moment
    FROM generate_series(1, %(trades)s) AS k
) AS made
ORDER BY k;
INSERT INTO cash_equity_book (timestamp, date, portfolio_id, currency, notional, trade_id)
SELECT
    booked_at, booked_at::date, portfolio_id, 'USD',
    sum(CASE WHEN kind = 'dividend' THEN notional WHEN side = 'BUY' THEN -notional - fees ELSE notional - fees END)
        OVER (PARTITION BY portfolio_id ORDER BY id ROWS UNBOUNDED PRECEDING),
    id
FROM trade_execution_logs;
INSERT INTO positions_book (portfolio_id, ticker, quantity, updated_at, trade_id)
SELECT
    portfolio_id, ticker,
    sum(CASE side WHEN 'BUY' THEN quantity ELSE -quantity END)
        OVER (PARTITION BY portfolio_id, ticker ORDER BY id ROWS UNBOUNDED PRECEDING),
    booked_at, id
FROM trade_execution_logs
WHERE kind = 'trade';
"""
BREAK = """
GRANT UPDATE ON cash_equity_book TO CURRENT_USER;
ALTER TABLE cash_equity_book DISABLE TRIGGER cash_equity_book_append_only;
UPDATE cash_equity_book SET notional = notional + 0.01 WHERE trade_id = %(trade_id)s;
"""


def run(pool: Pool, statements: str, **parameters: int) -> None:
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(statements, parameters)


def measure(pool: Pool, trades: int, portfolios: int, tickers: int) -> dict[str, Any]:
    """Seconds of an audit of sound books, of one of broken books, and of building all lots from zero."""
    run(pool, FILL, trades=trades, portfolios=portfolios, tickers=tickers)
    started = time.perf_counter()
    fresh = audit(pool)
    not_analysed = time.perf_counter() - started
    run(pool, "ANALYZE")
    started = time.perf_counter()
    sound = audit(pool)
    seconds = time.perf_counter() - started
    with pool.connection() as connection:
        started = time.perf_counter()
        catch_up(connection, "1", Lots())
        lots_seconds = time.perf_counter() - started
    broken_id = trades - trades // 20
    run(pool, BREAK, trade_id=broken_id)
    broken = [each.findings[0] for each in audit(pool).portfolios if each.findings]
    return {
        "trades": trades,
        "portfolios": portfolios,
        "seconds": seconds,
        "seconds_before_analyze": not_analysed,
        "clean": fresh.clean and sound.clean,
        "broken_row_named": [finding.trade_id for finding in broken] == [broken_id],
        "lots_trades_per_second": trades / portfolios / lots_seconds,
    }


def main() -> int:
    """Measure, print, and end with 1 where the limit is missed or the audit is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trades", type=int, default=1_000_000)
    parser.add_argument("--portfolios", type=int, default=10)
    parser.add_argument("--tickers", type=int, default=50)
    parser.add_argument("--url")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with server(options.url) as url:
        upgrade(url)
        pool = Pool(url)
        try:
            result = measure(pool, options.trades, options.portfolios, options.tickers)
        finally:
            pool.close()
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        print(
            f"audit of {result['trades']:,} trades in {result['portfolios']} portfolios: {result['seconds']:.1f} s "
            f"({result['seconds_before_analyze']:.1f} s before the tables were analysed; limit {LIMIT_SECONDS:.0f} s "
            f"a million), sound books {'clean' if result['clean'] else 'NOT CLEAN'}, the broken row "
            f"{'named' if result['broken_row_named'] else 'NOT NAMED'}; lots from zero "
            f"{result['lots_trades_per_second']:,.0f} trades/s"
        )
    limit = LIMIT_SECONDS * max(result["trades"] / 1_000_000, 1.0)
    slowest = max(result["seconds"], result["seconds_before_analyze"])
    return 0 if result["clean"] and result["broken_row_named"] and slowest <= limit else 1


if __name__ == "__main__":
    sys.exit(main())
