"""Entries with everything filled in, for tests to change what they are about."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from framework.books.entries import CashMovement, Fill, Transfer
from framework.books.open import Identity, open_portfolio

AT = datetime(2024, 1, 2, 15, 30, tzinfo=UTC)
DAY = date(2024, 1, 2)


def D(text: object) -> Decimal:
    return Decimal(str(text))


def open_(pool, *ids, currency="USD"):
    for portfolio_id in ids:
        open_portfolio(pool, Identity(portfolio_id, "paper", "paper", "ACCOUNT", currency))


def fill(key="f1", side="BUY", quantity="10", price="100", fees="1", ticker="AAPL", **changed) -> Fill:
    given: dict[str, Any] = {
        "portfolio_id": "1", "key": key, "at": AT, "session": DAY, "ticker": ticker, "side": side,
        "quantity": D(quantity), "price": D(price), "currency": "USD", "fees": D(fees),
    } | changed  # fmt: skip
    return Fill(**given)


def cash(amount, kind="deposit", key="c1", **changed) -> CashMovement:
    given: dict[str, Any] = {
        "portfolio_id": "1", "key": key, "at": AT, "session": DAY, "kind": kind, "amount": D(amount),
        "note": "test" if kind == "adjustment" else None,
    } | changed  # fmt: skip
    return CashMovement(**given)


def transfer(amount, source="1", target="2", key="t1", **changed) -> Transfer:
    given: dict[str, Any] = {
        "portfolio_id": source, "to_portfolio_id": target, "key": key, "at": AT, "session": DAY, "amount": D(amount)
    } | changed  # fmt: skip
    return Transfer(**given)


def ask(pool, statement, *values, fetch=True) -> list[tuple]:
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if fetch else []
