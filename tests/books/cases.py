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


def open_buy(pool, portfolio_id, order_id, quantity, limit, state="open"):
    """An order at its broker that has spoken for quantity × limit."""
    ask(pool, "INSERT INTO decisions (portfolio_id, due_at, bar_timestamp, state) VALUES (%s, %s, %s, '{}') "
              "ON CONFLICT DO NOTHING", portfolio_id, AT, AT, fetch=False)  # fmt: skip
    ask(pool, "INSERT INTO orders (order_id, portfolio_id, due_at, intent, ticker, side, quantity, order_type, "
              "limit_price, decision_price, state) SELECT %s, %s, %s, count(*), 'AAPL', 'BUY', %s, 'limit', %s, %s, %s "
              "FROM orders WHERE portfolio_id = %s",
        order_id, portfolio_id, AT, quantity, limit, limit, state, portfolio_id, fetch=False)  # fmt: skip
