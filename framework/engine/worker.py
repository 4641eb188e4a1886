"""One portfolio on its books: trade what is open, value, decide. The same rules as the simulator's, on PostgreSQL.

Everything that a step needs is read from the database, and everything that it does is committed before the next: a
worker that is killed and started again goes on from the books.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from framework.books import journal
from framework.books.entries import Fill
from framework.books.keys import fill_key
from framework.books.ledger import book_in, lock
from framework.books.lots import Lots, Mark
from framework.books.open import Identity
from framework.books.state import PortfolioState, read_state
from framework.books.valuation import value
from framework.db.pool import Pool
from framework.db.retry import retry
from framework.db.types import Connection
from framework.engine.account import Account
from framework.engine.orders import REPLACED, OrderBook, Waiting
from framework.engine.schedule import decision_rows, gather_missed
from framework.engine.simulator import Simulation
from framework.errors import BookingError
from framework.model.money import MICRO, exact_decimal
from framework.model.panel import Panel
from framework.model.result import Unfilled
from framework.trading.context import Context, Cursor, SetupContext
from framework.trading.strategy import Strategy, style

_ZERO = Decimal(0)


class Worker:
    """Runs one portfolio, bar by bar.

    Args:
        job: what to run; its own strategy object is not used.
        make_strategy: a fresh strategy object for each decision, since nothing may be kept on it between bars.
        pool: of the books.
        identity: whose books.
        books_id: of these books.
        lookback: bars that a decision sees.
    """

    def __init__(
        self,
        job: Simulation,
        make_strategy: Callable[[], Strategy],
        pool: Pool,
        identity: Identity,
        books_id: str,
        lookback: int,
    ) -> None:
        self._job, self._make_strategy, self._pool = job, make_strategy, pool
        self._identity, self._books_id, self._lookback = identity, books_id, lookback
        self._rows = set(decision_rows(job.schedule, job.timeline, job.first).tolist())
        self._last_of_session = job.timeline.last_of_session()
        self._lots = Lots()

    def step(self, row: int) -> None:
        """One bar, in the order of events of trading-rules 3: fills at its open, value and decision at its close."""
        self.trade(row)
        self.value(row)
        if row in self._rows:
            self.decide(row)

    # Fills.

    def trade(self, row: int) -> None:
        """Let the open orders trade at the open of ``row``, and book what fills, with the orders' ends, in one go."""
        now = _moment(self._job.timeline.opens[row])

        def once() -> None:
            with self._pool.transaction(isolation="read committed") as connection:
                # Locked first: what cash covers is decided on what no one else can change meanwhile.
                lock(connection, [self._identity.portfolio_id])
                seen = self._read(connection)
                if not seen.orders:
                    return
                desk = self._desk(seen, row)
                desk.book.run_to(desk.last)
                session: date = self._job.timeline.session[row].item()
                fills = desk.fills(self._identity, now, session)
                if fills:
                    book_in(connection, fills, now)
                journal.settle(connection, desk.ends(), now)

        retry(once)

    # Value.

    def value(self, row: int) -> None:
        """Write what the portfolio is worth at the close of ``row``."""
        job = self._job
        window = self._window(row)
        closes = Account(window, job.terms, len(window)).closes[-1]
        marks = {ticker: Mark(_exact(close)) for ticker, close in zip(job.panel.tickers, closes, strict=True) if close}
        value(self._pool, self._identity.portfolio_id, marks, self._lots, _moment(job.timeline.available[row]))

    # Decisions.

    def decide(self, row: int) -> None:
        """Ask the strategy about the close of ``row`` and commit what it wants."""
        portfolio_id = self._identity.portfolio_id
        due_at = _moment(self._job.timeline.available[row])
        with self._pool.transaction(read_only=True, isolation="repeatable read") as connection:
            seen = self._read(connection)
            last = journal.read_last_decision(connection, portfolio_id)
        if last is not None and last.due_at >= due_at:
            return
        desk = self._desk(seen, row)
        state = self._ask(desk, last, row)
        intents = desk.intents(self._books_id, portfolio_id, due_at)
        bar = _moment(self._job.timeline.timestamps[row])
        journal.decide(self._pool, portfolio_id, due_at, bar, state, intents, desk.ends())

    def _ask(self, desk: _Desk, last: journal.LastDecision | None, row: int) -> dict[str, object]:
        """Let a fresh strategy object decide; queues what it wants in the desk's book and returns what it remembers."""
        job, strategy, cursor = self._job, self._make_strategy(), Cursor(desk.last)
        strategy.setup(SetupContext(desk.window, job.make_indicator, cursor))
        if style(strategy) == "weights":
            rows = [desk.last] if last is None else [_row_of(desk.window, last.bar_timestamp), desk.last]
            weights = gather_missed(np.asarray(strategy.weights(desk.window), dtype=np.float64), np.array(rows))
            self._target(desk, weights[desk.last])
            return {}
        start = row + 1 - len(desk.window)
        clock, raw = job.timeline.rows(start, row + 1), job.raw_close[start : row + 1]
        ctx = Context(desk.window, clock, raw, cursor, desk.account, self._identity.portfolio_id)
        if last is not None:
            ctx.state = last.state
            ctx.lapsed = tuple(
                Unfilled(desk.last, job.panel.tickers.index(ticker), float(quantity), reason)
                for ticker, quantity, reason in last.lapsed
            )
        strategy.on_bar(ctx)
        if ctx.asked_weights is not None:
            self._target(desk, ctx.asked_weights)
        for order in ctx.asked_orders:
            desk.book.request(desk.last, order)
        return ctx.state

    def _target(self, desk: _Desk, weights: NDArray[np.float64]) -> None:
        columns = (weights == weights).nonzero()[0]
        desk.book.target_weights(desk.last, columns, weights[columns])

    # What a step works on.

    def _read(self, connection: Connection) -> _Seen:
        portfolio_id = self._identity.portfolio_id
        state = read_state(connection, portfolio_id)
        orders = journal.read_open_orders(connection, portfolio_id)
        if state.cash is None:
            raise BookingError(f"portfolio {portfolio_id!r} has no cash in the books; deposit some first")
        return _Seen(state, orders)

    def _desk(self, seen: _Seen, row: int) -> _Desk:
        return _Desk(self._window(row), self._job, seen, self._last_of_session[: row + 1])

    def _window(self, row: int) -> Panel:
        return self._job.panel.rows(max(0, row + 1 - self._lookback), row + 1)


@dataclass(frozen=True)
class _Seen:
    """The books of one moment."""

    state: PortfolioState
    orders: tuple[journal.OpenOrder, ...]


class _Desk:
    """The simulator's account and order book, set up as the books say; and what they say back to the books."""

    def __init__(self, window: Panel, job: Simulation, seen: _Seen, last_of_session: NDArray[np.bool_]) -> None:
        self.window, self.last = window, len(window) - 1
        self._per_share = job.terms.lots_per_share
        self._orders = {order.order_id: order for order in seen.orders}
        columns = {ticker: column for column, ticker in enumerate(window.tickers)}
        self.account = Account(window, job.terms, self.last)
        self.account.cash = float((seen.state.cash or _ZERO) * int(MICRO))
        for ticker, quantity in seen.state.positions.items():
            if quantity:
                self.account.lots[columns[ticker]] = float(quantity * int(self._per_share))
        waiting = [
            Waiting(columns[order.ticker], float(order.quantity * int(self._per_share)), self.last - 1, order.order_id)
            for order in seen.orders
        ]
        clock = last_of_session[-len(window) :]
        self.book = OrderBook(self.account, clock, waiting, self.last, self)
        self._fills: list[tuple[Waiting, float, float, float]] = []
        self._ends: dict[str, tuple[float, str]] = {}

    # Told by the order book.

    def filled(self, order: Waiting, lots: float, price: float, fees: float) -> None:
        """Keep a fill."""
        self._fills.append((order, lots, price, fees))

    def ended(self, order: Waiting, lots: float, reason: str) -> None:
        """Keep an end."""
        self._ends[order.order_id] = (abs(lots), reason)

    # For the books.

    def fills(self, identity: Identity, at: datetime, session: date) -> list[Fill]:
        """The fills as entries of the ledger."""
        return [
            Fill(
                portfolio_id=identity.portfolio_id,
                key=fill_key(identity.broker, identity.account, order.order_id),
                at=at,
                session=session,
                ticker=self.window.tickers[order.column],
                side="BUY" if lots > 0.0 else "SELL",
                quantity=self._shares(abs(lots)),
                price=exact_decimal(price * self._per_share, MICRO),
                currency=identity.base_currency,
                fees=exact_decimal(fees, MICRO),
                arrival_price=exact_decimal(float(self.window.open[self.last, order.column]) * MICRO, MICRO),
                decision_price=self._orders[order.order_id].decision_price,
                order_id=order.order_id,
            )
            for order, lots, price, fees in self._fills
        ]

    def ends(self) -> list[journal.End]:
        """The orders that are open no more."""
        filled = {order.order_id for order, *_ in self._fills}
        ends = []
        for order_id in dict.fromkeys([*filled, *self._ends]):
            lots, reason = self._ends.get(order_id, (0.0, None))
            ends.append(journal.End(order_id, self._shares(lots), reason, order_id in filled))
        return [end for end in ends if end.order_id in self._orders]

    def intents(self, books_id: str, portfolio_id: str, due_at: datetime) -> list[journal.Intent]:
        """What was asked for at this bar, refused intents included."""
        asked: list[tuple[int, float, str | None]] = [
            (order.column, order.lots, None) for order in self.book.waiting if not order.order_id
        ]
        for refused in self.account.unfilled:
            if refused.reason != REPLACED:
                asked.append((refused.ticker, refused.quantity * self._per_share, refused.reason))
        return [
            journal.Intent(
                journal.client_order_id(books_id, portfolio_id, due_at, number),
                self.window.tickers[column],
                "SELL" if lots < 0.0 else "BUY",
                None if np.isnan(lots) or lots == 0.0 else self._shares(abs(lots)),
                self._close(column),
                reason,
            )
            for number, (column, lots, reason) in enumerate(asked)
        ]

    def _close(self, column: int) -> Decimal | None:
        close = float(self.account.closes[self.last, column])
        return exact_decimal(close * MICRO, MICRO) if close else None

    def _shares(self, lots: float) -> Decimal:
        return exact_decimal(lots, self._per_share)


def _exact(price: float) -> Decimal:
    return Decimal(repr(float(price)))


def _moment(moment: np.datetime64) -> datetime:
    found: datetime = moment.astype("datetime64[us]").item()
    return found.replace(tzinfo=UTC)


def _row_of(window: Panel, moment: datetime) -> int:
    """The row of a bar in the window; 0 where it lies before."""
    at = np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
    return int(np.searchsorted(window.timestamps, at))
