"""The state queries' time against the length of history, side by side with the specification's plain forms.

    python bench/state_query.py [--rows 1000 100000 1000000] [--tickers 50] [--repeats 500] [--url URL] [--json]

One portfolio holds all rows, spread over its tickers; cash has as many rows. Each size has a schema of its own, and the
sizes are measured in turns. Limit: the medians of each fast form stay within 1.5 x of each other over all sizes (they
grow with the tickers ever held). The plain forms read all of a portfolio's history and are asked less often.
Without ``--url`` a throw-away embedded server is used.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import quote

from servers import server

from framework.db import migrate
from framework.db.pool import Pool
from framework.db.queries import fetch_all
from framework.db.types import Connection

FAST = {"portfolio_state": "portfolio_state_plain", "latest_positions": "latest_positions_plain", "latest_cash": None}
LIMIT = 1.5
#: Queries of one size in a row, so that each is measured with its own pages in the processor's cache, not another's.
BLOCK = 20
ASKED = {"portfolio_id": "1"}

FILL = """
INSERT INTO portfolios VALUES ('1', 'paper', 'bench', 'bench', 'USD');
INSERT INTO positions_book (portfolio_id, ticker, quantity, updated_at)
SELECT '1', 'T' || lpad((k %% %(tickers)s)::text, 4, '0'), k / 8.0, '2020-01-01Z'::timestamptz + k * interval '1 second'
FROM generate_series(1, %(rows)s) AS k;
INSERT INTO cash_equity_book (timestamp, date, portfolio_id, currency, notional)
SELECT '2020-01-01Z'::timestamptz + k * interval '1 second', '2020-01-01', '1', 'USD', k / 8.0
FROM generate_series(1, %(rows)s) AS k;
"""


@contextmanager
def filled(url: str, rows: int, tickers: int) -> Iterator[Connection]:
    """A connection into a schema of its own that holds so many rows of history."""
    schema = f"bench_{rows}"
    separator = "&" if "?" in url else "?"
    pool = Pool(f"{url}{separator}options={quote(f'-csearch_path={schema}')}", 1, 1)
    try:
        with pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
            cursor.execute(f"CREATE SCHEMA {schema}")
            migrate.upgrade(connection)
            cursor.execute(FILL, {"rows": rows, "tickers": tickers})
            cursor.execute("VACUUM (ANALYZE) positions_book")
            cursor.execute("VACUUM (ANALYZE) cash_equity_book")
            yield connection
            cursor.execute(f"DROP SCHEMA {schema} CASCADE")
    finally:
        pool.close()


def milliseconds(connection: Connection, query: str) -> float:
    """Time of one query, answer fetched."""
    started = time.perf_counter()
    fetch_all(connection, query, ASKED)
    return (time.perf_counter() - started) * 1e3


def measure(connections: dict[int, Connection], query: str, repeats: int) -> dict[int, float]:
    """Median milliseconds by rows of history, the sizes in turns."""
    times: dict[int, list[float]] = {rows: [] for rows in connections}
    order = list(connections)
    for turn in range(max(1, repeats // BLOCK)):
        for rows in order[turn % len(order) :] + order[: turn % len(order)]:
            times[rows] += [milliseconds(connections[rows], query) for _ in range(min(BLOCK, repeats))]
    return {rows: statistics.median(values) for rows, values in times.items()}


def compare(connections: dict[int, Connection], repeats: int) -> list[dict[str, Any]]:
    """One entry per fast query: its medians, those of the plain form, whether the answers are equal."""
    table = []
    for fast, plain in FAST.items():
        entry: dict[str, Any] = {"query": fast, "median_ms": measure(connections, fast, repeats)}
        medians = entry["median_ms"].values()
        entry["growth"] = max(medians) / min(medians)
        if plain is not None:
            entry["plain_median_ms"] = measure(connections, plain, max(3, repeats // 50))
            entry["equal"] = all(fetch_all(c, fast, ASKED) == fetch_all(c, plain, ASKED) for c in connections.values())
        table.append(entry)
    return table


def show(table: list[dict[str, Any]]) -> None:
    """The table for people."""
    for entry in table:
        print(f"{entry['query']}: largest median / smallest {entry['growth']:.2f} (limit {LIMIT})")
        for rows, median in entry["median_ms"].items():
            plain = entry.get("plain_median_ms", {}).get(rows)
            beside = f"   plain {plain:10.3f} ms" if plain is not None else ""
            print(f"  {rows:>9,} rows {median:8.3f} ms{beside}")
        if "equal" in entry:
            print(f"  answers equal: {'yes' if entry['equal'] else 'NO'}")


def main() -> int:
    """Measure, print, and end with 1 where the limit is missed or an answer differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--tickers", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--url")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with server(options.url) as url, ExitStack() as stack:
        connections = {n: stack.enter_context(filled(url, n, options.tickers)) for n in options.rows}
        table = compare(connections, options.repeats)
    if options.json:
        print(json.dumps({"tickers": options.tickers, "queries": table}, indent=1))
    else:
        show(table)
    good = all(entry["growth"] <= LIMIT and entry.get("equal", True) for entry in table)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
