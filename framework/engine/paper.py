"""The paper broker's account: takes orders, fills them at the bars of the market, keeps everything in the database.

It fills by the rules of the simulator (:class:`framework.engine.orders.OrderBook`), and its cash and positions are
those of the portfolio's books, so a paper portfolio ends as a backtest of the same decisions would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framework.books.journal import as_terms
from framework.books.ledger import lock
from framework.data.window import Window
from framework.db.pool import Pool
from framework.db.queries import Row, execute, fetch_all
from framework.db.retry import retry
from framework.db.state import read_state
from framework.db.types import Connection
from framework.engine.account import Account, Terms
from framework.engine.matching import Waiting
from framework.engine.order_rules import CAPPED
from framework.engine.orders import OrderBook
from framework.errors import DuplicateOrder
from framework.model.money import MICRO, exact_decimal, shares_decimal
from framework.model.orders import OrderTerms
from framework.model.rates import Rates
from framework.model.timeline import moment, stamp
from framework.trading.broker import BrokerOrder, Execution, Report, Side, Ticket

_ZERO = Decimal(0)


@dataclass(frozen=True, eq=False)
class Bars:
    """The bars that a paper account fills at, as they are known now.

    Attributes:
        window: what is available.
        last_of_session: shape ``(T,)``: after which of its bars a session is over.
        rates: to the account's currency, if any ticker is in another.
    """

    window: Window
    last_of_session: NDArray[np.bool_]
    rates: Rates | None = None


class PaperAccount:
    """One paper account, which belongs to one portfolio.

    Args:
        pool: of the books.
        account: its id.
        portfolio_id: whose cash and positions it trades with.
        terms: lots and costs.
        bars: gives the bars that are known, from a moment on at least.
        clock: the engine's moment.
    """

    unique_client_ids = True
    in_doubt_seconds = 0.0  # what it does not have, it never got: its orders are in the same database

    def __init__(
        self,
        pool: Pool,
        account: str,
        portfolio_id: str,
        terms: Terms,
        bars: Callable[[datetime], Bars],
        clock: Callable[[], datetime],
    ) -> None:
        self._pool, self._account, self._portfolio_id = pool, account, portfolio_id
        self._terms, self._bars, self._clock = terms, bars, clock

    def submit(self, ticket: Ticket) -> None:
        """Take an order; it trades in bars that open from now on."""
        asked = {**asdict(ticket), "account": self._account, "accepted_at": self._clock()}
        with self._pool.connection() as connection:
            if execute(connection, "paper_submit", asked) == 0:
                raise DuplicateOrder(f"there is an order {ticket.order_id} already, or it is not being sent any more")

    def cancel(self, order_id: str) -> None:
        """Close an order that has not filled in the bars of the last :meth:`poll`."""

        def once() -> None:
            with self._pool.transaction(isolation="read committed") as connection:
                lock(connection, [self._portfolio_id])
                execute(connection, "paper_cancel", {"account": self._account, "order_id": order_id})

        retry(once)

    def poll(self, place: str, order_ids: Sequence[str]) -> Report:
        """Let open orders trade in the bars that have become known, and tell what there is after ``place``."""
        number = int(place or 0)
        if order_ids:
            self._match(number)
        with self._pool.transaction(read_only=True, isolation="repeatable read") as connection:
            rows = fetch_all(connection, "paper_executions", {"account": self._account, "place": number})
            asked = {"account": self._account, "order_ids": list(order_ids)}
            orders = [_broker_order(row) for row in fetch_all(connection, "paper_orders", asked)]
        executions = tuple(Execution(*row[1:]) for row in rows)
        newest = str(rows[-1][0]) if rows else place
        return Report(executions, newest, {order.ticket.order_id: order for order in orders})

    def _match(self, place: int) -> None:
        with self._pool.connection() as connection:
            resting = self._resting(connection)
        if not resting:
            return
        # Bars first, and without a connection in hand: an old order may take some that are not in memory.
        bars = self._bars(min(order.matched_to or order.accepted_at for order in resting))
        retry(lambda: self._match_in(bars, place))

    def _match_in(self, bars: Bars, place: int) -> None:
        """One transaction: what cash covers is decided under the lock of the portfolio."""
        with self._pool.transaction(isolation="read committed") as connection:
            lock(connection, [self._portfolio_id])
            resting = self._resting(connection)
            if not resting or fetch_all(connection, "paper_executions", {"account": self._account, "place": place}):
                return  # what has been executed is booked first: the cash that is left depends on it
            desk = _Desk(bars, self._terms, resting)
            rows = desk.rows()
            if len(rows) == 0:
                return
            state = read_state(connection, self._portfolio_id)
            desk.trade(rows, state.cash or _ZERO, state.positions)
            self._write(connection, desk)

    def _resting(self, connection: Connection) -> list[_Resting]:
        rows = fetch_all(connection, "paper_open_orders", {"account": self._account})
        return [_Resting.of(row) for row in rows]

    def _write(self, connection: Connection, desk: _Desk) -> None:
        touched = desk.touched()
        stamps = desk.window.trade.timestamps
        asked: dict[str, Any] = {
            "order_ids": [order.order_id for order in touched],
            "filled": [order.added for order in touched],
            "closed": [order.is_closed for order in touched],
            "reasons": [order.reason for order in touched],
            "triggered": [order.is_triggered for order in touched],
            "matched_to": moment(stamps[-1]),
            "matched_at": self._clock(),
        }
        if touched:
            execute(connection, "paper_match", asked)
        if desk.executions:
            columns = {"execution_id": "execution_ids", "order_id": "order_ids", "ticker": "tickers", "side": "sides"}
            columns |= {"quantity": "quantities", "price": "prices", "arrival_price": "arrival_prices"}
            columns |= {"session": "sessions", "fees": "fees", "executed_at": "executed_at"}
            written = {
                plural: [getattr(execution, name) for execution in desk.executions] for name, plural in columns.items()
            }
            execute(connection, "paper_execute", {"account": self._account, **written})


@dataclass
class _Resting:
    """An order that may trade, and what becomes of it."""

    order_id: str
    ticker: str
    side: Side
    rest: Decimal
    terms: OrderTerms
    accepted_at: datetime
    matched_to: datetime | None
    is_triggered: bool
    is_capped: bool
    added: Decimal = _ZERO
    is_closed: bool = False
    reason: str | None = None
    is_touched: bool = False

    def reduce(self, quantity: Decimal) -> None:
        """So much less may still trade."""
        self.rest -= quantity
        self.is_closed = self.rest == 0

    @classmethod
    def of(cls, row: Row) -> _Resting:
        order_id, ticker, side, quantity, *terms, accepted_at, matched_to, is_triggered, filled = row
        # Nothing but a bar's volume leaves a rest that waits on.
        known = as_terms(*terms), accepted_at, matched_to, is_triggered, filled > 0
        return cls(order_id, ticker, side, quantity - filled, *known)


class _Desk:
    """One matching of resting orders against bars; also the witness of the order book that does it."""

    def __init__(self, bars: Bars, terms: Terms, resting: Sequence[_Resting]) -> None:
        self.window = bars.window
        self._last_of_session, self._rates = bars.last_of_session, bars.rates
        self._terms, self._orders = terms, {order.order_id: order for order in resting}
        self._columns = {ticker: column for column, ticker in enumerate(self.window.trade.tickers)}
        self._per_share = terms.lots_per_share
        self.executions: list[Execution] = []
        self._row = 0

    def rows(self) -> NDArray[np.int64]:
        """The bars in which any of the orders can trade, rising."""
        clock = self.window.timeline
        eligible = np.zeros(len(clock), dtype=np.bool_)
        for order in self._orders.values():
            eligible |= self._eligible(order)
        return np.flatnonzero(eligible)

    def trade(self, rows: NDArray[np.int64], cash: Decimal, positions: dict[str, Decimal]) -> None:
        """Bar by bar."""
        account = Account(self.window.trade, self._terms, 0, self._rates)
        account.cash = float(cash * int(MICRO))
        for ticker, quantity in positions.items():
            if quantity and ticker in self._columns:
                account.lots[self._columns[ticker]] = float(quantity * int(self._per_share))
        account.valued = len(self.window.trade)  # nothing is valued here
        for self._row in rows.tolist():
            self._lapse()
            orders = [order for order in self._orders.values() if self._may_trade(order)]
            waiting = [self._waiting(order) for order in orders]
            self._book = book = OrderBook(account, self._last_of_session, waiting, self._row, self)
            book.run_to(self._row)
            for order in orders:
                order.is_touched = True
                order.matched_to = moment(self.window.trade.timestamps[self._row])
            for left in book.waiting:
                self._orders[left.order_id].is_triggered = left.is_triggered

    def touched(self) -> list[_Resting]:
        """The orders that had a chance to trade, or lapsed."""
        return [order for order in self._orders.values() if order.is_touched]

    # Told by the order book.

    def filled(self, order: Waiting, lots: float, price: float, fees: float) -> None:
        """Note an execution."""
        resting, clock = self._orders[order.order_id], self.window.timeline
        quantity = shares_decimal(abs(lots), self._per_share)
        resting.added += quantity
        resting.is_capped = True
        resting.reduce(quantity)
        opens = moment(clock.opens[self._row])
        self.executions.append(
            Execution(
                execution_id=f"{order.order_id}:{int(opens.timestamp())}",
                order_id=order.order_id,
                ticker=resting.ticker,
                side=resting.side,
                quantity=quantity,
                price=exact_decimal(price * self._per_share, MICRO),
                fees=exact_decimal(fees, MICRO),
                arrival_price=exact_decimal(self._book.arrival(self._row, order) * MICRO, MICRO),
                executed_at=opens,
                session=clock.session[self._row].item(),
            )
        )

    def ended(self, order: Waiting, lots: float, reason: str) -> None:
        """Note the end of an order, or of a part of it."""
        resting = self._orders[order.order_id]
        resting.reason = reason
        resting.reduce(shares_decimal(abs(lots), self._per_share))

    # Which order may trade where.

    def _eligible(self, order: _Resting) -> NDArray[np.bool_]:
        """The bars in which an order has not had its chance yet."""
        clock = self.window.timeline
        late = clock.opens >= stamp(order.accepted_at)
        if order.matched_to is not None:
            late &= clock.timestamps > stamp(order.matched_to)
        return late

    def _may_trade(self, order: _Resting) -> bool:
        if order.is_closed or order.ticker not in self._columns:
            return False
        clock = self.window.timeline
        is_new = order.matched_to is None or clock.timestamps[self._row] > stamp(order.matched_to)
        return bool(is_new and clock.opens[self._row] >= stamp(order.accepted_at))

    def _lapse(self) -> None:
        """Close day orders whose session has gone by; its last bar, or all of it, may have been missing."""
        clock = self.window.timeline
        for order in self._orders.values():
            if order.is_closed or order.terms.time_in_force not in ("DAY", "CLS"):
                continue
            # Its session is that of the bar that was open, or the next to open, when it was taken; nobody trades in the
            # middle of a daily bar.
            own = int(np.searchsorted(clock.available, stamp(order.accepted_at), side="right"))
            if self.window.trade.interval == "1d":
                own = self._first(order)
            if own < self._row and clock.session[own] != clock.session[self._row]:
                opens = self.window.trade.open[self._first(order) : self._row, self._columns[order.ticker]]
                order.is_closed = order.is_touched = True
                order.reason = CAPPED if order.is_capped else "no bar" if np.isnan(opens).all() else "not reached"

    def _first(self, order: _Resting) -> int:
        """The first bar in which the order could trade."""
        return int(np.searchsorted(self.window.timeline.opens, stamp(order.accepted_at)))

    def _waiting(self, order: _Resting) -> Waiting:
        lots = float(order.rest * int(self._per_share))
        signed = lots if order.side == "BUY" else -lots
        return Waiting(
            self._columns[order.ticker],
            signed,
            self._first(order) - 1,
            order.order_id,
            terms=order.terms,
            is_triggered=order.is_triggered,
            is_capped=order.is_capped,
        )


def _broker_order(row: Row) -> BrokerOrder:
    *ticket, filled, is_closed, reason = row
    return BrokerOrder(Ticket(*ticket), filled, is_closed, reason)
