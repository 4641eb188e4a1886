"""One portfolio on its books: settle what was sent, value, decide, send. The same rules as the simulator's.

Everything that a cycle needs is read from the database, and everything that it does is committed before the next step:
a worker that is killed and started again goes on from the books.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np

from framework.books import journal
from framework.books.journal import Guard, LastDecision, LiveOrder
from framework.books.lots import Lots, Mark
from framework.books.open import Identity
from framework.books.state import PortfolioState, Valuation, read_latest_valuation, read_state
from framework.books.valuation import value
from framework.data.coming import Coming
from framework.data.feed import Feed
from framework.data.window import Window
from framework.db.pool import Pool
from framework.db.retry import retry
from framework.engine.account import Account, Terms
from framework.engine.desk import Desk
from framework.engine.gateway import Filled, Gateway
from framework.engine.halts import halts_in_force
from framework.engine.paper import Bars, PaperAccount
from framework.engine.schedule import decision_rows, gather_missed
from framework.errors import BookingError, EngineError, StrategyError
from framework.model.orders import OrderTerms
from framework.model.result import Unfilled
from framework.model.timeline import moment, stamp
from framework.trading.broker import Broker, BrokerAccount
from framework.trading.context import Context, Cursor, IndicatorMaker, SetupContext
from framework.trading.costs import Costs
from framework.trading.strategy import Strategy, style

#: Until when orders of a liquidation may be sent: they are wanted whenever the market opens next.
_LIQUIDATION_HOLDS = timedelta(days=10)


@dataclass(frozen=True, eq=False)
class Assignment:
    """What a worker runs.

    Attributes:
        identity: whose books.
        tickers: what the strategy sees and may trade.
        make_strategy: a fresh strategy object for each decision, since nothing may be kept on it between bars.
        strategy_name: its registered name.
        make_indicator: indicator from name and parameters.
        schedule: ``every_bar``, ``daily``, ``weekly`` or ``monthly``.
        lookback: bars that a decision sees.
        terms: lots, buffer, costs.
        broker: where orders go.
        config_hash, code_hash: noted with each decision.
        since: exchange date of the first bar that is valued and decided on; those before are for the lookback.
    """

    identity: Identity
    tickers: tuple[str, ...]
    make_strategy: Callable[[], Strategy]
    strategy_name: str
    make_indicator: IndicatorMaker
    schedule: str
    lookback: int
    terms: Terms
    broker: Broker
    config_hash: str | None = None
    code_hash: str | None = None
    since: date | None = None


@dataclass(frozen=True)
class Watcher:
    """Who is told what a worker does; each call comes after the commit that it speaks of."""

    filled: Callable[[Identity, Filled], None] = lambda identity, filled: None
    ended: Callable[[Identity, LiveOrder, str | None], None] = lambda identity, order, reason: None
    decided: Callable[[Identity, journal.Decision], None] = lambda identity, decision: None
    valued: Callable[[Identity, Valuation], None] = lambda identity, valuation: None


@dataclass(frozen=True, eq=False)
class StrategyData:
    """What a decision is made on: market window, cash and positions, latest valuation, journal: all of one moment."""

    now: datetime
    window: Window
    state: PortfolioState
    valuation: Valuation | None
    orders: tuple[LiveOrder, ...]
    last: LastDecision | None
    halted_by: str | None


class Worker:
    """Runs the cycles of one portfolio.

    Args:
        assignment: what to run.
        pool: of the books.
        feed: of the market.
        coming: the calendar from now on.
        clock: the engine's moment.
        booking_clock: that of the ledger; gives ``None`` for the database's.
        books_id: of these books.
        guard: makes sure that this engine may decide and send.
        watcher: is told what happens.
    """

    def __init__(
        self,
        assignment: Assignment,
        pool: Pool,
        feed: Feed,
        coming: Coming,
        clock: Callable[[], datetime],
        booking_clock: Callable[[], datetime | None],
        books_id: str,
        guard: Guard | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self.assignment = assignment
        self._identity, self._pool, self._feed, self._coming = assignment.identity, pool, feed, coming
        self._clock, self._booking_clock, self._books_id, self._guard = clock, booking_clock, books_id, guard
        self._watcher = watcher or Watcher()
        self._lots = Lots()
        self._data: StrategyData | None = None
        identity = self._identity
        self._gateway = Gateway(
            pool,
            assignment.broker.connect(self),
            identity,
            clock,
            booking_clock,
            guard,
            lambda filled: self._watcher.filled(identity, filled),
            lambda order, reason: self._watcher.ended(identity, order, reason),
        )

    # What a broker that fills orders itself is offered (trading.broker.Exchange).

    def paper_account(self, costs: Costs) -> BrokerAccount:
        """An account that fills at the bars of the data source, with these costs."""
        terms = replace(self.assignment.terms, costs=costs)
        identity = self._identity
        return PaperAccount(self._pool, identity.account, identity.portfolio_id, terms, self._known_bars, self._clock)

    def _known_bars(self) -> Bars:
        data = self._data
        assert data is not None, "an account is used within a cycle"
        return Bars(data.window, self._coming.last_of_session(data.window.timeline))

    # A cycle.

    def cycle(self) -> StrategyData:
        """Do what is due now; what was done before is not done again.

        Returns:
            what the cycle has seen last.

        Raises:
            StrategyError: the strategy failed; nothing of its decision is written.
            EngineError: anything else; every step that was committed stands, and the next cycle goes on from there.
        """
        data = self.get_data()
        if data.orders:
            if self._gateway.settle(data.orders):
                data = self.get_data()
            self._gateway.send(data.orders)
        if not self._has_begun(data.window):
            return data
        self._value(data)
        if data.halted_by is None and self._is_due(data) and self._decide(data):
            with self._pool.connection() as connection:
                orders = journal.read_live_orders(connection, self._identity.portfolio_id)
            self._gateway.send(orders)
        return data

    def _has_begun(self, window: Window) -> bool:
        """Whether there is a bar that counts."""
        if not len(window.signal):
            return False
        since = self.assignment.since
        return since is None or bool(window.timeline.session[-1] >= np.datetime64(since, "D"))

    def get_data(self) -> StrategyData:
        """Market window, cash and positions, latest valuation, and the journal, in one read-only transaction.

        Raises:
            BookingError: the portfolio has no cash.
            DatabaseError: nothing was read.
        """

        def once() -> StrategyData:
            assignment, portfolio_id, now = self.assignment, self._identity.portfolio_id, self._clock()
            with self._pool.transaction(read_only=True, isolation="repeatable read") as connection:
                market = self._feed.refresh(connection, now)
                state = read_state(connection, portfolio_id)
                orders = journal.read_live_orders(connection, portfolio_id)
                last = journal.read_last_decision(connection, portfolio_id)
                valuation = read_latest_valuation(connection, portfolio_id)
                halts = halts_in_force(connection, portfolio_id)
            if state.cash is None:
                raise BookingError(f"portfolio {portfolio_id!r} has no cash in the books; deposit some first")
            window = market.window(assignment.tickers, assignment.lookback)
            return StrategyData(now, window, state, valuation, orders, last, halts[0].reason if halts else None)

        self._data = retry(once)
        return self._data

    def cancel_open_orders(self, reason: str) -> tuple[LiveOrder, ...]:
        """Take back every order that has not ended; those that are still open then."""
        self._gateway.cancel(self.get_data().orders, reason)
        self._gateway.settle(self.get_data().orders)
        return self.get_data().orders

    def liquidate(self) -> str:
        """Take back every order, then sell (or buy back) all that is held; what was done, in words.

        Raises:
            BookingError: an order is not final yet, so that what is held is not certain; ask again.
        """
        portfolio_id = self._identity.portfolio_id
        left = self.cancel_open_orders("liquidated")
        if left:
            raise BookingError(f"{len(left)} orders of portfolio {portfolio_id} are not final yet; liquidate again")
        data = self.get_data()
        held = [(ticker, quantity) for ticker, quantity in data.state.positions.items() if quantity]
        if not held:
            return "nothing is held"
        due_at = data.now + timedelta(microseconds=1)  # apart from what the strategy decides at this moment
        intents = [
            journal.Intent(
                journal.client_order_id(self._books_id, portfolio_id, due_at, number),
                ticker,
                "SELL" if quantity > 0 else "BUY",
                abs(quantity),
                None,
                OrderTerms(time_in_force="GTC"),
            )
            for number, (ticker, quantity) in enumerate(held)
        ]
        decision = journal.Decision(
            portfolio_id, due_at, data.now, data.now + _LIQUIDATION_HOLDS, {}, intents=intents, kind="liquidation"
        )
        journal.decide(self._pool, decision, self._guard)
        self._gateway.send(self.get_data().orders)
        return f"{len(intents)} orders sent that close every position; they fill when the market trades"

    # Value.

    def _value(self, data: StrategyData) -> None:
        """Write what the portfolio is worth at the newest bar, once."""
        bar = moment(data.window.timeline.timestamps[-1])
        valued_at = None if data.valuation is None else data.valuation.bar_timestamp
        if valued_at is not None and valued_at >= bar:
            return
        panel = data.window.trade
        closes = Account(panel, self.assignment.terms, len(panel)).closes[-1].tolist()
        marks = {ticker: Mark(_exact(close)) for ticker, close in zip(panel.tickers, closes, strict=True) if close}
        valuation = value(self._pool, self._identity.portfolio_id, marks, self._lots, self._booking_clock(), bar)
        self._watcher.valued(self._identity, valuation)

    # Decisions.

    def _is_due(self, data: StrategyData) -> bool:
        """Whether the newest bar of the schedule is still to be decided on, and not too late."""
        clock = data.window.timeline
        rows = decision_rows(self.assignment.schedule, clock, 0, self._coming.last_of_session(clock))
        if not len(rows):
            return False
        row = int(rows[-1])
        bar = moment(clock.timestamps[row])
        if data.last is not None and data.last.bar_timestamp >= bar:
            return False
        return data.now < self._coming.valid_until(self.assignment.schedule, clock.rows(0, row + 1))

    def _decide(self, data: StrategyData) -> bool:
        """Ask the strategy and commit what it wants; whether there is anything to send or to cancel."""
        clock, assignment = data.window.timeline, self.assignment
        rows = decision_rows(assignment.schedule, clock, 0, self._coming.last_of_session(clock))
        seen = _cut(data, int(rows[-1]) + 1)
        clock = seen.window.timeline
        due_at, bar = moment(clock.available[-1]), moment(clock.timestamps[-1])
        desk = Desk(seen.window, assignment.terms, seen.state, seen.orders, self._coming.last_of_session(clock))
        with self._named(bar):
            state = self._ask(desk, seen)
            desk.close()
        decision = journal.Decision(
            portfolio_id=self._identity.portfolio_id,
            due_at=due_at,
            bar_timestamp=bar,
            valid_until=self._coming.valid_until(assignment.schedule, clock),
            state=state,
            told_to=0 if seen.last is None else seen.last.told_to,
            intents=desk.intents(self._books_id, self._identity.portfolio_id, due_at),
            cancels=desk.cancels(),
            config_hash=assignment.config_hash,
            code_hash=assignment.code_hash,
            window_hash=seen.window.fingerprint(),
        )
        written = journal.decide(self._pool, decision, self._guard)
        if written:
            self._watcher.decided(self._identity, decision)
        return written and bool(decision.intents or decision.cancels)

    def _ask(self, desk: Desk, data: StrategyData) -> dict[str, object]:
        """Let a fresh strategy object decide; queues what it wants in the desk's book and returns what it remembers."""
        assignment, window, last = self.assignment, data.window, data.last
        strategy, cursor = assignment.make_strategy(), Cursor(desk.last)
        strategy.setup(SetupContext(window.signal, assignment.make_indicator, cursor))
        if style(strategy) == "weights":
            rows = [desk.last] if last is None else [_row_of(window, last.bar_timestamp), desk.last]
            weights = gather_missed(np.asarray(strategy.weights(window.signal), dtype=np.float64), np.array(rows))
            desk.target_weights(weights[desk.last])
            return {}
        ctx = Context(
            window.signal, window.timeline, window.raw_close, cursor, desk.account, self._identity.portfolio_id
        )
        if last is not None:
            ctx.state = last.state
            ctx.lapsed = tuple(
                Unfilled(desk.last, window.signal.tickers.index(ticker), float(quantity), reason)
                for ticker, quantity, reason in last.lapsed
                if ticker in window.signal.tickers
            )
        strategy.on_bar(ctx)
        if ctx.asked_weights is not None:
            desk.target_weights(ctx.asked_weights)
        desk.request(ctx.asked_orders)
        return ctx.state

    def _named(self, bar: datetime) -> _Naming:
        who = f"portfolio {self._identity.portfolio_id}: strategy {self.assignment.strategy_name!r}"
        return _Naming(f"{who} at the bar of {bar:%Y-%m-%d %H:%M} UTC")


class _Naming:
    """Whatever the strategy raises becomes an error that names portfolio, strategy and bar."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, EngineError):
            raise type(error)(f"{self._where}: {error}") from error
        if isinstance(error, Exception):
            raise StrategyError(f"{self._where} failed: {type(error).__name__}: {error}") from error


def _cut(data: StrategyData, rows: int) -> StrategyData:
    """The same data with the window cut to its first rows."""
    window = data.window
    if rows == len(window.signal):
        return data
    signal = window.signal.rows(0, rows)
    trade = signal if window.trade is window.signal else window.trade.rows(0, rows)
    cut = Window(signal, trade, window.timeline.rows(0, rows), window.raw_close[:rows], window.generation)
    return replace(data, window=cut)


def _exact(price: float) -> Decimal:
    return Decimal(repr(float(price)))


def _row_of(window: Window, at: datetime) -> int:
    """The row of a bar in the window; 0 where it lies before."""
    return int(np.searchsorted(window.timeline.timestamps, stamp(at)))
