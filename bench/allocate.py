"""How long an allocation over many portfolios takes, beside its SQL alone.

    python bench/allocate.py [--portfolios 1000] [--tickers 20] [--sessions 60] [--rounds 5] [--url URL] [--json]

Every portfolio holds that many tickers and has been valued at that many sessions; each round allocates by other
weights, from the returns of all these sessions, so that money moves to or from every portfolio. The statements of a
round are then sent again by a bare psycopg2 program, in one transaction as well, under new keys. Limit: 10 times as
long. Without ``--url`` a throw-away embedded server is used.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import psycopg2
from psycopg2 import extensions
from servers import server

from framework import Allocator
from framework.books.allocation import History, Marks, Request, allocate
from framework.db.database import upgrade
from framework.db.pool import Pool
from framework.trading.allocation import Allocation, AllocationTerms

LIMIT = 10.0
FIRST = date(2026, 1, 5)

FILL = """
INSERT INTO portfolios
SELECT p::text, 'paper', 'bench', 'bench', 'USD' FROM generate_series(0, %(portfolios)s) AS p;
INSERT INTO trade_execution_logs (
    portfolio_id, ticker, exec_timestamp, side, quantity, exec_price, notional, notional_local, currency, kind,
    execution_id, booked_at
)
SELECT
    p::text, 'USD_CASH', '2026-01-01Z', 'BUY', 1000000, 1, 1000000, 1000000, 'USD', 'deposit', 'in:' || p, '2026-01-01Z'
FROM generate_series(0, %(portfolios)s) AS p;
INSERT INTO cash_equity_book (timestamp, date, portfolio_id, currency, notional, trade_id)
SELECT booked_at, '2026-01-01', portfolio_id, 'USD', notional, id FROM trade_execution_logs ORDER BY id;
INSERT INTO trade_execution_logs (
    portfolio_id, ticker, exec_timestamp, side, quantity, exec_price, notional, notional_local, currency, kind,
    execution_id, booked_at
)
SELECT
    p::text, 'T' || lpad(t::text, 4, '0'), '2026-01-02Z', 'BUY', 10, 100, 1000, 1000, 'USD', 'trade',
    'fill:' || p || ':' || t, '2026-01-02Z'::timestamptz + t * interval '1 second'
FROM generate_series(1, %(portfolios)s) AS p, generate_series(1, %(tickers)s) AS t
ORDER BY p, t;
INSERT INTO cash_equity_book (timestamp, date, portfolio_id, currency, notional, trade_id)
SELECT
    booked_at, '2026-01-02', portfolio_id, 'USD',
    1000000 - sum(notional) OVER (PARTITION BY portfolio_id ORDER BY id ROWS UNBOUNDED PRECEDING), id
FROM trade_execution_logs WHERE kind = 'trade' ORDER BY id;
INSERT INTO positions_book (portfolio_id, ticker, quantity, updated_at, trade_id)
SELECT portfolio_id, ticker, quantity, booked_at, id FROM trade_execution_logs WHERE kind = 'trade' ORDER BY id;
INSERT INTO pnl_book (
    portfolio_id, timestamp, notional, equity, realised, unrealised, income, costs, bar_timestamp
)
SELECT
    p::text, '2026-01-05Z'::timestamptz + s * interval '1 day', s * (p %% 7), 1000000 + s * (p %% 7), 0, s * (p %% 7),
    0, 0,
    '2026-01-05Z'::timestamptz + s * interval '1 day'
FROM generate_series(1, %(portfolios)s) AS p, generate_series(0, %(sessions)s) AS s
ORDER BY s, p;
ANALYZE;
"""


class Turning(Allocator):
    """Weights that turn from round to round, and depend on every return."""

    def __init__(self) -> None:
        self.round = 0

    def sessions(self) -> int:
        """As many as the request has."""
        return 1

    def allocate(self, state: Any) -> Any:
        """Up to a tenth around equal weights."""
        self.round += 1
        tilt = 1.0 + 0.05 * np.sin(np.arange(len(state.equity)) + self.round)
        weights = tilt + 1e-6 * np.add.reduce(np.nan_to_num(state.returns), axis=0)
        return weights / np.add.reduce(weights) * state.total


def recording(kept: list[tuple[Any, Any]]) -> type[extensions.cursor]:
    """A cursor class that keeps all that it executes."""

    class Recorder(extensions.cursor):
        def execute(self, query: Any, values: Any = None) -> Any:
            kept.append((query, values))
            return super().execute(query, values)

    return Recorder


def request(portfolios: int, tickers: int, sessions: int, allocator: Allocator, run_id: str) -> Request:
    """What is asked of each round."""
    ids = tuple(str(number) for number in range(1, portfolios + 1))
    zeros = np.zeros(portfolios)
    terms = AllocationTerms(ids, zeros, zeros + 1.0, zeros)
    names = tuple(f"T{number:04d}" for number in range(1, tickers + 1))
    marks = Marks(names, np.full(tickers, 101.0), np.ones(tickers, dtype=np.bool_), 1.0)
    days = [FIRST + timedelta(days=number) for number in range(sessions + 1)]
    starts = tuple(datetime(day.year, day.month, day.day, tzinfo=UTC) for day in days)
    dates = np.array(days, dtype="datetime64[D]")
    history = History(dates[1:], starts, dates, starts[-1] + timedelta(days=1))
    allocation = Allocation("bench/turning", allocator, terms, "daily", "USD", 30.0)
    return Request(allocation, run_id, starts[-1], days[-1], days[-1], dict.fromkeys(ids, marks), history, "bench")


def renamed(value: Any, old: str, new: str) -> Any:
    """Parameters of another run id."""
    if isinstance(value, dict):
        return {key: renamed(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, old, new) for item in value]
    return value.replace(old, new) if isinstance(value, str) else value


def bare(connection: extensions.connection, statements: list[tuple[Any, Any]]) -> float:
    """Seconds that the statements alone take, in one transaction."""
    began = time.perf_counter()
    with connection, connection.cursor() as cursor:
        for query, values in statements:
            cursor.execute(query, values)
            if cursor.description is not None:
                cursor.fetchall()
    return time.perf_counter() - began


def measure(url: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Fill the books, allocate, and send the same again."""
    upgrade(url)
    sizes = {name: getattr(arguments, name) for name in ("portfolios", "tickers", "sessions")}
    pool = Pool(url, 1, 1)
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(FILL, sizes)
    alone = psycopg2.connect(url)
    allocator, ours, theirs, moved = Turning(), [], [], 0
    round_trips = 0
    for number in range(arguments.rounds + 1):
        kept: list[tuple[Any, Any]] = []
        run_id = f"round-{number}"
        with pool.connection() as connection:
            connection.cursor_factory = recording(kept)
        asked = request(arguments.portfolios, arguments.tickers, arguments.sessions, allocator, run_id)
        began = time.perf_counter()
        made = allocate(pool, asked)
        seconds = time.perf_counter() - began
        moved = sum(share.transfer != 0 for share in made.shares)
        statements = [(query, renamed(values, run_id, f"bare-{number}")) for query, values in kept]
        is_first = number == 0
        spent = bare(alone, [each for each in statements if not _is_control(each[0])])
        if not is_first:  # the first warms everything up
            ours.append(seconds)
            theirs.append(spent)
        round_trips = len(kept)
    alone.close()
    pool.close()
    ratio = statistics.median(ours) / statistics.median(theirs)
    return {
        "portfolios": arguments.portfolios,
        "positions_each": arguments.tickers,
        "moved": moved,
        "statements": round_trips,
        "seconds": statistics.median(ours),
        "sql_alone_seconds": statistics.median(theirs),
        "ratio": ratio,
        "limit": LIMIT,
        "met": ratio <= LIMIT,
    }


def _is_control(query: Any) -> bool:
    """BEGIN, COMMIT: the bare program has its own."""
    return str(query).split()[0].upper() in ("BEGIN", "COMMIT", "ROLLBACK")


def main(arguments: list[str]) -> int:
    """Measure and print; exit 1 where the limit is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("portfolios", 1000), ("tickers", 20), ("sessions", 60), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--url")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    with server(given.url) as url:
        found = measure(url, given)
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        print(
            f"{found['portfolios']} portfolios of {found['positions_each']} positions, {found['moved']} transfers, "
            f"{found['statements']} statements: {found['seconds']:.3f} s; the SQL alone "
            f"{found['sql_alone_seconds']:.3f} s; ratio {found['ratio']:.2f} (limit {LIMIT:g})"
        )
    return 0 if found["met"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
