"""A process that books, over and over, until somebody kills it: ``python writer.py URL ROUND``."""

from __future__ import annotations

import itertools
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from framework.books.entries import CashMovement, Fill, Transfer
from framework.books.ledger import book
from framework.db.pool import Pool

COMMON: dict[str, Any] = {"at": datetime(2024, 1, 2, tzinfo=UTC), "session": date(2024, 1, 2)}


def entries(name, n):
    """The n-th booking: three entries in two portfolios, all or none."""
    return (
        Fill(portfolio_id="1", key=f"{name}-{n}-fill", ticker=f"T{n % 3}", side="BUY" if n % 2 else "SELL",
             quantity=Decimal(n + 1), price=Decimal("3.21"), currency="USD", fees=Decimal("0.01"), **COMMON),
        CashMovement(portfolio_id="1", key=f"{name}-{n}-cash", kind="deposit", amount=Decimal(5), **COMMON),
        Transfer(portfolio_id="1", to_portfolio_id="2", key=f"{name}-{n}-transfer", amount=Decimal(1), **COMMON),
    )  # fmt: skip


if __name__ == "__main__":
    pool = Pool(sys.argv[1], 1, 1)
    for number in itertools.count():
        book(pool, entries(sys.argv[2], number))
        print(number, flush=True)
