"""A broker account that answers as a test has it answer, and a portfolio that trades there through the gateway."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from framework.books import journal
from framework.books.journal import Intent, LiveOrder
from framework.books.ledger import book
from framework.books.open import Identity, open_portfolio
from framework.books.state import read_state
from framework.db.pool import Pool
from framework.db.types import Connection
from framework.engine.gateway import Filled, Gateway
from framework.errors import BrokerUnavailable
from framework.model.orders import MARKET, OrderTerms
from framework.trading.broker import BrokerOrder, Execution, Report, Ticket
from tests.books.cases import ask, cash

DUE = datetime(2010, 1, 4, 21, tzinfo=UTC)
DAY = timedelta(days=1)


class Account:
    """One account. It takes every order, and does nothing more until the test says so."""

    def __init__(self) -> None:
        self.unique_client_ids, self.in_doubt_seconds = True, 0.0
        self.submitted: list[Ticket] = []
        self.cancelled: list[str] = []
        self.polls = 0
        self.orders: dict[str, BrokerOrder] = {}
        self.executions: list[Execution] = []
        #: How many executions a poll tells at most; how many of those told before it tells again.
        self.at_once, self.overlap = 100, 0
        #: What happens when a request comes, instead of taking it.
        self.on_submit: Callable[[Ticket], None] = self.take
        self.on_cancel: Callable[[str], None] = self.close

    def submit(self, ticket: Ticket) -> None:
        self.submitted.append(ticket)
        self.on_submit(ticket)

    def cancel(self, order_id: str) -> None:
        self.cancelled.append(order_id)
        self.on_cancel(order_id)

    def poll(self, place: str, order_ids: Sequence[str]) -> Report:
        self.polls += 1
        first = int(place or 0)
        last = min(first + self.at_once, len(self.executions))
        told = self.executions[:last]
        orders = {
            order_id: BrokerOrder(order.ticket, self._filled(order_id, told), order.is_closed, order.reason)
            for order_id, order in self.orders.items()
            if order_id in order_ids
        }
        return Report(tuple(told[max(0, first - self.overlap) :]), str(last), orders)

    def _filled(self, order_id: str, told: list[Execution]) -> Decimal:
        return sum((each.quantity for each in told if each.order_id == order_id), Decimal(0))

    # What a test has it do.

    def take(self, ticket: Ticket) -> None:
        self.orders[ticket.order_id] = BrokerOrder(ticket, Decimal(0), False)

    def fill(self, order: str, quantity: int | None = None, price: str = "10", **changed: object) -> None:
        """Execute so much of an order, or all of it; it is closed once nothing is left."""
        ticket = self.orders[order].ticket
        done = self._filled(order, self.executions)
        shares = ticket.quantity - done if quantity is None else Decimal(quantity)
        made = {
            "execution_id": f"x{len(self.executions)}", "order_id": order, "ticker": ticket.ticker,
            "side": ticket.side, "quantity": shares, "price": Decimal(price), "fees": Decimal("0.5"),
            "arrival_price": Decimal("9.99"), "executed_at": DUE + timedelta(hours=18), "session": date(2010, 1, 5),
        }  # fmt: skip
        self.executions.append(Execution(**made | changed))  # type: ignore[arg-type]
        self.orders[order] = BrokerOrder(ticket, done + shares, done + shares >= ticket.quantity)

    def close(self, order_id: str, reason: str = "cancelled") -> None:
        if order_id in self.orders and not self.orders[order_id].is_closed:
            order = self.orders[order_id]
            self.orders[order_id] = BrokerOrder(order.ticket, order.filled, True, reason)


class World:
    """A portfolio with money, its account, and a clock that stands where the test puts it."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.account, self.now = pool, Account(), DUE
        self.identity = Identity("p", "paper", "stand-in", "A")
        self.filled: list[Filled] = []
        self.ended: list[tuple[str, str | None]] = []
        self.guard: Callable[[Connection], None] = lambda connection: None
        open_portfolio(pool, self.identity)
        book(pool, [cash(10_000, portfolio_id="p")])
        self.restart()

    def restart(self) -> None:
        """As a new process would: nothing is known but what is in the database."""
        self.gateway = Gateway(
            self.pool,
            self.account,
            self.identity,
            lambda: self.now,
            lambda: None,
            lambda connection: self.guard(connection),
            self.filled.append,
            lambda order, reason: self.ended.append((order.order_id, reason)),
        )

    def decide(self, *intents: Intent, due: datetime = DUE, cancels: dict[str, str] | None = None) -> list[str]:
        """Write a decision; the ids of its orders."""
        decision = journal.Decision("p", due, due - DAY, due + DAY, {}, intents=intents, cancels=cancels or {})
        assert journal.decide(self.pool, decision)
        return [intent.order_id for intent in intents]

    def live(self) -> tuple[LiveOrder, ...]:
        with self.pool.connection() as connection:
            return journal.read_live_orders(connection, "p")

    def settle(self) -> bool:
        return self.gateway.settle(self.live())

    def send(self) -> bool:
        return self.gateway.send(self.live())

    def sent(self, *intents: Intent) -> list[str]:
        """Decide orders and send them; their ids."""
        ids = self.decide(*intents)
        self.send()
        return ids

    def order(self, order_id: str) -> tuple[object, ...]:
        """State, reason, shares filled and unfilled."""
        ((state, reason, filled, unfilled),) = ask(
            self.pool, "SELECT state, reason, filled, unfilled FROM orders WHERE order_id = %s", order_id
        )
        return state, reason, int(filled), int(unfilled)

    def books(self) -> tuple[Decimal, dict[str, int]]:
        """Cash and positions."""
        with self.pool.connection() as connection:
            state = read_state(connection, "p")
        assert state.cash is not None
        return state.cash, {ticker: int(quantity) for ticker, quantity in state.positions.items() if quantity}

    def lapsed(self) -> list[tuple[str, int, str]]:
        """What the strategy will be told of."""
        with self.pool.connection() as connection:
            last = journal.read_last_decision(connection, "p")
        assert last is not None
        return [(ticker, int(quantity), reason) for ticker, quantity, reason in last.lapsed]


def intent(
    number: int, ticker: str = "AAA", quantity: int = 10, due: datetime = DUE, terms: OrderTerms = MARKET
) -> Intent:
    """Buys shares; sells them where the quantity is negative."""
    order_id = journal.client_order_id("abc123", "p", due, number)
    side = "BUY" if quantity > 0 else "SELL"
    return Intent(order_id, ticker, side, Decimal(abs(quantity)), Decimal("9.9"), terms)  # type: ignore[arg-type]


def unanswered(world: World, *intents: Intent) -> list[str]:
    """Orders whose requests have left, and were never answered: the broker has got none of them."""
    ids = world.decide(*intents)

    def lose(ticket: Ticket) -> None:
        raise BrokerUnavailable("no answer")

    world.account.on_submit = lose
    for _ in ids:
        with pytest.raises(BrokerUnavailable):
            world.send()
    world.account.on_submit = world.account.take
    world.account.submitted.clear()
    return ids
