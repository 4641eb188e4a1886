"""The order journal: decisions with all their intents, and what became of each (trading-rules 5)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from framework.books.ledger import lock
from framework.db.pool import Pool
from framework.db.queries import execute, fetch_all, fetch_one
from framework.db.retry import retry
from framework.db.types import Connection
from framework.errors import StrategyError

_ZERO = Decimal(0)
#: What a strategy may remember, in bytes of JSON.
STATE_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Intent:
    """One order that a decision asks for, or would have asked for.

    Attributes:
        order_id: see :func:`client_order_id`.
        ticker: what to trade.
        side: BUY or SELL.
        quantity: shares; ``None``: it was never sized.
        decision_price: the close decided on; ``None``: there was none.
        reason: why it was refused; ``None``: it is open.
    """

    order_id: str
    ticker: str
    side: Literal["BUY", "SELL"]
    quantity: Decimal | None
    decision_price: Decimal | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order that may still trade. ``quantity`` is signed shares."""

    order_id: str
    due_at: datetime
    ticker: str
    quantity: Decimal
    decision_price: Decimal | None


@dataclass(frozen=True, slots=True)
class End:
    """How an open order ended: ``unfilled`` shares (≥ 0) of it for ``reason``; none: it filled."""

    order_id: str
    unfilled: Decimal = _ZERO
    reason: str | None = None
    has_fill: bool = False


@dataclass(frozen=True, slots=True)
class LastDecision:
    """The newest decision of a portfolio, and what has ended unfilled since: (ticker, signed shares, reason)."""

    due_at: datetime
    bar_timestamp: datetime
    state: dict[str, Any]
    lapsed: tuple[tuple[str, Decimal, str], ...] = field(default=())


def client_order_id(books_id: str, portfolio_id: str, due_at: datetime, intent: int) -> str:
    """The id of an intent: a function of what it is, so that a repeated cycle makes the same (trading-rules 6)."""
    text = f"{portfolio_id}|{due_at.isoformat()}|{intent}"
    digest = base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"pe{books_id}-{digest[:26]}"


def read_books_id(pool: Pool) -> str:
    """What tells these books from all others."""
    with pool.connection() as connection:
        row = fetch_one(connection, "books_id")
    assert row is not None, "a migration wrote it"
    return str(row[0])


def decide(
    pool: Pool,
    portfolio_id: str,
    due_at: datetime,
    bar_timestamp: datetime,
    state: Mapping[str, Any],
    intents: Sequence[Intent],
    cancelled: Sequence[End] = (),
) -> bool:
    """Commit a decision with all its intents, and the cancels that it makes; one transaction.

    Returns:
        whether it was written; not, if this portfolio has decided for ``due_at`` before: nothing changes then.

    Raises:
        StrategyError: ``state`` is no JSON, or too large.
        BookingError: the portfolio is not open.
    """
    remembered = _as_json(state)

    def once() -> bool:
        with pool.transaction() as connection:
            lock(connection, [portfolio_id])
            asked = {
                "portfolio_id": portfolio_id,
                "due_at": due_at,
                "bar_timestamp": bar_timestamp,
                "state": remembered,
            }
            if execute(connection, "insert_decision", asked) == 0:
                return False
            settle(connection, cancelled, due_at)
            if intents:
                execute(connection, "insert_orders", _columns(portfolio_id, due_at, intents))
            return True

    return retry(once)


def settle(connection: Connection, ends: Sequence[End], ended_at: datetime) -> None:
    """End open orders, in the caller's transaction; one that has ended already is left as it is."""
    if ends:
        asked = {
            "order_ids": [end.order_id for end in ends],
            "states": ["filled" if end.has_fill else "ended" for end in ends],
            "reasons": [end.reason for end in ends],
            "unfilled": [end.unfilled for end in ends],
            "ended_at": ended_at,
        }
        execute(connection, "settle_orders", asked)


def read_open_orders(connection: Connection, portfolio_id: str) -> tuple[OpenOrder, ...]:
    """The open orders, in the order in which they were decided."""
    rows = fetch_all(connection, "open_orders", {"portfolio_id": portfolio_id})
    return tuple(
        OpenOrder(order_id, due_at, ticker, quantity if side == "BUY" else -quantity, price)
        for order_id, due_at, ticker, side, quantity, price in rows
    )


def read_last_decision(connection: Connection, portfolio_id: str) -> LastDecision | None:
    """The newest decision; ``None`` before the first."""
    row = fetch_one(connection, "latest_decision", {"portfolio_id": portfolio_id})
    if row is None:
        return None
    due_at, bar_timestamp, state, tickers, quantities, reasons = row
    lapsed = tuple(zip(tickers, quantities, reasons, strict=True))
    return LastDecision(due_at, bar_timestamp, json.loads(state), lapsed)


def _as_json(state: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(state, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StrategyError(f"ctx.state cannot be kept: {error}; use JSON values only") from None
    if len(text.encode()) > STATE_LIMIT:
        raise StrategyError(f"ctx.state is {len(text.encode())} bytes of JSON; allowed: {STATE_LIMIT}")
    return text


def _columns(portfolio_id: str, due_at: datetime, intents: Sequence[Intent]) -> dict[str, Any]:
    return {
        "portfolio_id": portfolio_id,
        "due_at": due_at,
        "order_ids": [intent.order_id for intent in intents],
        "intents": list(range(len(intents))),
        "tickers": [intent.ticker for intent in intents],
        "sides": [intent.side for intent in intents],
        "quantities": [intent.quantity for intent in intents],
        "decision_prices": [intent.decision_price for intent in intents],
        "states": ["open" if intent.reason is None else "ended" for intent in intents],
        "reasons": [intent.reason for intent in intents],
        "unfilled": [(intent.quantity or _ZERO) if intent.reason else _ZERO for intent in intents],
    }
