"""What the ledger costs on top of its SQL: time to book a fill, beside a bare psycopg2 transaction.

    python bench/ledger.py [--fills 1000] [--tickers 50] [--url URL] [--json]

Both sides run the same statements (BEGIN, lock, state, insert, COMMIT) with the same kind of rows, in turns, each on a
portfolio of its own that holds as many tickers. Limit: our median at most 2 x the bare one.
Without ``--url`` a throw-away embedded server is used, as durable as any (fsync on).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from servers import server

from framework.books.audit import audit
from framework.books.entries import CashMovement, Fill
from framework.books.ledger import book
from framework.books.open import Identity, open_portfolio
from framework.books.rows import COLUMNS, fill_row
from framework.db.database import upgrade
from framework.db.pool import Pool
from framework.db.queries import sql
from framework.db.types import Connection

LIMIT = 2.0
AT = {"at": datetime(2024, 1, 2, 15, tzinfo=UTC), "session": date(2024, 1, 2)}


def entry(portfolio_id: str, number: int, tickers: int) -> Fill:
    """A fill like any other."""
    return Fill(
        portfolio_id=portfolio_id,
        key=f"{portfolio_id}-{number}",
        ticker=f"T{number % tickers:04}",
        side="BUY" if number % 3 else "SELL",
        quantity=Decimal(number % 90 + 10),
        price=Decimal("101.25"),
        currency="USD",
        fees=Decimal("1.25"),
        arrival_price=Decimal("101.2"),
        **AT,
    )


class Bare:
    """The ledger's statements through a plain cursor; every parameter but the balances is made beforehand."""

    def __init__(self, connection: Connection, fills: list[Fill]) -> None:
        self.cursor = connection.cursor()
        self.lock_and_read = f"SET LOCAL lock_timeout = '30s'; {sql('lock_portfolios')}; {sql('booking_state')}"
        self.asked = [self._parameters(fill) for fill in fills]

    def _parameters(self, fill: Fill) -> tuple[dict[str, Any], dict[str, Any], Decimal, Decimal]:
        row = fill_row(fill, "USD")
        state = {
            "portfolio_ids": [fill.portfolio_id],
            "owners": [fill.portfolio_id],
            "tickers": [fill.ticker],
            "keys": [fill.key],
        }
        insert: dict[str, Any] = {name: [getattr(row, name)] for name in COLUMNS}
        insert |= {"session": [fill.session], "base_currency": ["USD"]}
        return state, insert, row.cash_change, row.quantity_change

    def book(self, number: int) -> None:
        """The transaction, and nothing else."""
        state, insert, cash_change, quantity_change = self.asked[number]
        cursor = self.cursor
        cursor.execute("BEGIN")
        cursor.execute(self.lock_and_read, state)
        ((_, _, now, last, cash, _, quantities, *_),) = cursor.fetchall()
        insert["booked_at"] = [max(now, last + timedelta(microseconds=1))]
        insert["balance"] = [cash + cash_change]
        insert["held"] = [(quantities[0] if quantities else 0) + quantity_change]
        cursor.execute(sql("insert_booking"), insert)
        cursor.fetchall()
        cursor.execute("COMMIT")


def measure(pool: Pool, fills: int, tickers: int) -> dict[str, Any]:
    """Medians in milliseconds, the two in turns, after a tenth of warming up."""
    for portfolio_id in ("ours", "bare"):
        open_portfolio(pool, Identity(portfolio_id, "paper", "bench", "bench", "USD"))
        book(
            pool,
            [CashMovement(portfolio_id=portfolio_id, key=portfolio_id, kind="deposit", amount=Decimal(10**9), **AT)],
        )
    ours = [entry("ours", number, tickers) for number in range(fills)]
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    with pool.connection() as connection:
        bare = Bare(connection, [replace(fill, portfolio_id="bare", key=f"bare-{n}") for n, fill in enumerate(ours)])
        for number, fill in enumerate(ours):
            started = time.perf_counter()
            book(pool, [fill])
            between = time.perf_counter()
            bare.book(number)
            ended = time.perf_counter()
            if number >= fills // 10:
                times["ours"].append((between - started) * 1e3)
                times["bare"].append((ended - between) * 1e3)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "fills": fills,
        "tickers": tickers,
        "ours_median_ms": medians["ours"],
        "bare_median_ms": medians["bare"],
        "ratio": medians["ours"] / medians["bare"],
        "ours_p99_ms": statistics.quantiles(times["ours"], n=100)[98],
        "audit_clean": audit(pool).clean,
    }


def main() -> int:
    """Measure, print, and end with 1 where the limit is missed or the books are not sound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fills", type=int, default=1000)
    parser.add_argument("--tickers", type=int, default=50)
    parser.add_argument("--url")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with server(options.url) as url:
        upgrade(url)
        pool = Pool(url)
        try:
            result = measure(pool, options.fills, options.tickers)
        finally:
            pool.close()
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        print(
            f"one fill, one transaction: ledger {result['ours_median_ms']:.3f} ms (p99 {result['ours_p99_ms']:.3f}), "
            f"bare psycopg2 {result['bare_median_ms']:.3f} ms, ratio {result['ratio']:.2f} (limit {LIMIT}); "
            f"audit afterwards: {'clean' if result['audit_clean'] else 'BROKEN'}"
        )
    return 0 if result["ratio"] <= LIMIT and result["audit_clean"] else 1


if __name__ == "__main__":
    sys.exit(main())
