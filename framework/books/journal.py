"""The order journal: decisions with all their intents, and the life of each order (trading-rules 5 and 6).

An order is ``planned`` (committed with its decision, never sent), ``sending`` (the request is about to leave: in doubt
until an answer is known), ``open`` (the broker has it), and then ``filled`` or ``ended`` with a reason, once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from framework.books.ledger import lock
from framework.db.pool import Pool
from framework.db.queries import Row, execute, fetch_all, fetch_one
from framework.db.retry import retry
from framework.db.types import Connection
from framework.errors import StrategyError
from framework.model.orders import MARKET, OrderTerms

_ZERO = Decimal(0)
#: What a strategy may remember, in bytes of JSON.
STATE_LIMIT = 64 * 1024

State = Literal["planned", "sending", "open"]


#: Called in each transaction that decides or sends, after its locks: raises where the engine may not do so now.
Guard: TypeAlias = Callable[[Connection], None]


@dataclass(frozen=True, slots=True)
class Intent:
    """One order that a decision asks for, or would have asked for.

    Attributes:
        order_id: see :func:`client_order_id`.
        ticker: what to trade.
        side: BUY or SELL.
        quantity: shares; ``None``: it was never sized.
        decision_price: the close decided on; ``None``: there was none.
        decision_rate: units of the portfolio's currency per unit of the price's, at that close.
        terms: type, prices, time in force.
        is_target: it leads to a target, so that a later target counts it as on its way.
        reason: why it was refused; ``None``: it is planned.
    """

    order_id: str
    ticker: str
    side: Literal["BUY", "SELL"]
    quantity: Decimal | None
    decision_price: Decimal | None
    terms: OrderTerms = MARKET
    is_target: bool = True
    reason: str | None = None
    decision_rate: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a portfolio decided for one moment.

    Attributes:
        portfolio_id: whose.
        due_at: the moment decided for.
        bar_timestamp: the newest bar decided on.
        valid_until: its orders may be sent until then.
        state: what the strategy remembers from here on.
        told_to: which ends of orders the strategy was told of (:attr:`LastDecision.told_to`).
        intents: all that it asks for, refused ones included.
        cancels: open orders that it takes back, by id, each with the reason.
        halted_by: a risk rule, with its words, that halts the portfolio from here on.
        kind: a ``liquidation`` decides without the strategy, and in a halted portfolio.
        newest_trade: in the books that it was decided on; ``None``: they did not matter.
        config_hash, code_hash, window_hash: of the run config, of the strategy's file, and of the bars decided on.
    """

    portfolio_id: str
    due_at: datetime
    bar_timestamp: datetime
    valid_until: datetime
    state: Mapping[str, Any]
    told_to: int = 0
    intents: Sequence[Intent] = ()
    cancels: Mapping[str, str] = field(default_factory=dict)
    halted_by: str | None = None
    kind: Literal["strategy", "liquidation"] = "strategy"
    newest_trade: int | None = None
    config_hash: str | None = None
    code_hash: str | None = None
    window_hash: str | None = None


@dataclass(frozen=True, slots=True)
class LiveOrder:
    """An order that has not ended. ``quantity`` (asked for) and ``filled`` (booked) are shares, ≥ 0."""

    order_id: str
    due_at: datetime
    valid_until: datetime
    ticker: str
    side: Literal["BUY", "SELL"]
    quantity: Decimal
    filled: Decimal
    decision_price: Decimal | None
    terms: OrderTerms
    is_target: bool
    state: State
    sent_at: datetime | None
    cancel_reason: str | None
    is_liquidation: bool = False

    @property
    def rest(self) -> Decimal:
        """What may still trade, signed shares."""
        left = self.quantity - self.filled
        return left if self.side == "BUY" else -left


@dataclass(frozen=True, slots=True)
class End:
    """How an order ended: ``unfilled`` shares (≥ 0) of it for ``reason``; none: it filled."""

    order_id: str
    unfilled: Decimal = _ZERO
    reason: str | None = None
    has_fill: bool = False


@dataclass(frozen=True, slots=True)
class LastDecision:
    """The newest decision of a portfolio, and what has ended unfilled since: (ticker, signed shares, reason).

    ``told_to`` numbers the last of these ends: the next decision notes it, so that each is told once; ``told_before``
    the last that this decision was told of.
    """

    due_at: datetime
    bar_timestamp: datetime
    state: dict[str, Any]
    told_to: int = 0
    lapsed: tuple[tuple[str, Decimal, str], ...] = field(default=())
    told_before: int = 0


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


# Decisions.


def decide(pool: Pool, decision: Decision, guard: Guard | None = None) -> bool:
    """Commit a decision with all its intents and the cancels that it wants; one transaction.

    Orders taken back that were never sent end at once; of others the cancel is noted, for the gateway to carry out.

    Returns:
        whether it was written; not, where this portfolio has decided for that moment before, or is halted, or something
        was booked since the books were read that it was decided on: nothing changes then.

    Raises:
        StrategyError: the state is no JSON, or too large.
        BookingError: the portfolio is not open.
    """
    asked = {
        "portfolio_id": decision.portfolio_id,
        "kind": decision.kind,
        "due_at": decision.due_at,
        "bar_timestamp": decision.bar_timestamp,
        "valid_until": decision.valid_until,
        "told_to": decision.told_to,
        "newest_trade": decision.newest_trade,
        "state": _as_json(decision.state),
        "config_hash": decision.config_hash,
        "code_hash": decision.code_hash,
        "window_hash": decision.window_hash,
    }

    def once() -> bool:
        with pool.transaction(isolation="read committed") as connection:
            lock(connection, [decision.portfolio_id])
            if guard is not None:
                guard(connection)
            if execute(connection, "insert_decision", asked) == 0:
                return False
            if decision.cancels:
                _note_cancels(connection, decision.cancels, decision.due_at)
            if decision.intents:
                execute(connection, "insert_orders", _columns(decision))
            if decision.halted_by is not None:
                _halt(connection, decision)
            return True

    return retry(once)


def read_last_decision(connection: Connection, portfolio_id: str) -> LastDecision | None:
    """The newest decision; ``None`` before the first."""
    row = fetch_one(connection, "latest_decision", {"portfolio_id": portfolio_id})
    if row is None:
        return None
    due_at, bar_timestamp, state, told_to, newest, tickers, quantities, reasons = row
    lapsed = tuple(zip(tickers, quantities, reasons, strict=True))
    return LastDecision(due_at, bar_timestamp, json.loads(state), newest or told_to, lapsed, told_to)


# Orders.


def read_live_orders(connection: Connection, portfolio_id: str) -> tuple[LiveOrder, ...]:
    """The orders that have not ended, in the order in which they were decided."""
    return tuple(map(_live, fetch_all(connection, "live_orders", {"portfolio_id": portfolio_id})))


def reserved(connection: Connection, portfolio_ids: Sequence[str]) -> dict[str, Decimal]:
    """What open buys have spoken for, per portfolio: unfilled rest × limit, or the close decided on and a reserve."""
    rows = fetch_all(connection, "reserved_cash", {"portfolio_ids": list(portfolio_ids)})
    return dict(rows)


def begin_sending(pool: Pool, order_id: str, now: datetime, guard: Guard | None = None) -> float | None:
    """Note, and commit, that the request of a planned (or doubtful) order is about to leave.

    Returns:
        when that began (:func:`time.monotonic`): the request leaves soon after it or not at all. ``None``: it must
        not leave, as it is no longer waiting to be sent or not valid any more, or its portfolio is halted.
    """

    def once() -> float | None:
        with pool.transaction(isolation="read committed") as connection:
            began = time.monotonic()
            if guard is not None:
                guard(connection)
            return began if execute(connection, "begin_sending", {"order_id": order_id, "now": now}) == 1 else None

    return retry(once)


def mark_open(pool: Pool, order_id: str) -> None:
    """The broker has the order."""

    def once() -> None:
        with pool.connection() as connection:
            execute(connection, "mark_order_open", {"order_id": order_id})

    retry(once)


def end(pool: Pool, portfolio_id: str, ends: Sequence[End], ended_at: datetime) -> None:
    """End orders of a portfolio; one that has ended already is left as it is."""

    def once() -> None:
        with pool.transaction(isolation="read committed") as connection:
            lock(connection, [portfolio_id])
            settle(connection, ends, ended_at)

    if ends:
        retry(once)


def cancel(pool: Pool, portfolio_id: str, reasons: Mapping[str, str], ended_at: datetime) -> None:
    """Take orders of a portfolio back, by id with the reason: what was never sent ends now, of the rest it is noted."""

    def once() -> None:
        with pool.transaction(isolation="read committed") as connection:
            lock(connection, [portfolio_id])
            _note_cancels(connection, reasons, ended_at)

    if reasons:
        retry(once)


def settle(connection: Connection, ends: Sequence[End], ended_at: datetime) -> None:
    """As :func:`end`, in the caller's transaction, under the lock of the portfolio."""
    if ends:
        asked = {
            "order_ids": [end.order_id for end in ends],
            "states": ["filled" if end.has_fill else "ended" for end in ends],
            "reasons": [end.reason for end in ends],
            "unfilled": [end.unfilled for end in ends],
            "ended_at": ended_at,
        }
        execute(connection, "settle_orders", asked)


def add_fills(connection: Connection, quantities: Mapping[str, Decimal]) -> None:
    """Note what was booked of orders, in the transaction that books it."""
    if quantities:
        execute(connection, "add_fills", {"order_ids": list(quantities), "quantities": list(quantities.values())})


def _halt(connection: Connection, decision: Decision) -> None:
    asked = {"reason": (decision.halted_by or "")[:500], "keep_orders": False, "halted_by": "risk rule"}
    execute(connection, "halt", {"portfolio_id": decision.portfolio_id, **asked})


def _note_cancels(connection: Connection, reasons: Mapping[str, str], ended_at: datetime) -> None:
    asked = {"order_ids": list(reasons), "reasons": list(reasons.values()), "ended_at": ended_at}
    execute(connection, "cancel_orders", asked)


def _as_json(state: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(state, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StrategyError(f"ctx.state cannot be kept: {error}; use JSON values only") from None
    if len(text.encode()) > STATE_LIMIT:
        raise StrategyError(f"ctx.state is {len(text.encode())} bytes of JSON; allowed: {STATE_LIMIT}")
    return text


def _columns(decision: Decision) -> dict[str, Any]:
    intents = decision.intents
    return {
        "portfolio_id": decision.portfolio_id,
        "due_at": decision.due_at,
        "order_ids": [intent.order_id for intent in intents],
        "intents": list(range(len(intents))),
        "tickers": [intent.ticker for intent in intents],
        "sides": [intent.side for intent in intents],
        "quantities": [intent.quantity for intent in intents],
        "decision_prices": [intent.decision_price for intent in intents],
        "decision_rates": [intent.decision_rate for intent in intents],
        "order_types": [intent.terms.order_type for intent in intents],
        "limit_prices": [as_decimal(intent.terms.limit_price) for intent in intents],
        "stop_prices": [as_decimal(intent.terms.stop_price) for intent in intents],
        "times_in_force": [intent.terms.time_in_force for intent in intents],
        "are_targets": [intent.is_target for intent in intents],
        "states": ["planned" if intent.reason is None else "ended" for intent in intents],
        "reasons": [intent.reason for intent in intents],
        "unfilled": [(intent.quantity or _ZERO) if intent.reason else _ZERO for intent in intents],
    }


def as_decimal(price: float | None) -> Decimal | None:
    """The price of an order's terms, which has at most 6 decimals."""
    return None if price is None else Decimal(repr(price))


def as_terms(
    order_type: Any, limit_price: Decimal | None, stop_price: Decimal | None, time_in_force: Any
) -> OrderTerms:
    """Terms as they were stored."""
    if order_type == "market" and time_in_force == "DAY":
        return MARKET
    limit, stop = (None if price is None else float(price) for price in (limit_price, stop_price))
    return OrderTerms(order_type, limit, stop, time_in_force)


def _live(row: Row) -> LiveOrder:
    order_id, due_at, valid_until, ticker, side, quantity, filled, price, *terms = row[:12]
    is_target, state, sent_at, cancel_reason, is_liquidation = row[12:]
    return LiveOrder(
        order_id,
        due_at,
        valid_until,
        ticker,
        side,
        quantity,
        filled,
        price,
        as_terms(*terms),
        is_target,
        state,
        sent_at,
        cancel_reason,
        is_liquidation,
    )
