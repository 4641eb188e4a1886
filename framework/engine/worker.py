"""One portfolio on its books: settle what was sent, value, decide, send. The same rules as the simulator's.

Everything that a cycle needs is read from the database, and everything that it does is committed before the next step:
a worker that is killed and started again goes on from the books.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial

import numpy as np

from framework.books import journal
from framework.books.allocation import read_limit
from framework.books.journal import Guard, LiveOrder
from framework.books.lots import Lots, Mark
from framework.books.state import read_latest_valuation, read_state
from framework.books.valuation import value
from framework.data.coming import Coming
from framework.data.feed import Feed
from framework.data.fx import Quotes
from framework.data.window import Window
from framework.db.pool import Pool
from framework.db.retry import retry
from framework.engine.actions import Actions
from framework.engine.allocating import STOPPED, Rendezvous
from framework.engine.decider import Assignment, Decider, StrategyData, closing
from framework.engine.flows import DatedFlows
from framework.engine.gateway import Gateway
from framework.engine.halts import halt, halts_in_force
from framework.engine.paper import Bars, PaperAccount
from framework.engine.risk_facts import RiskFacts
from framework.engine.watcher import Watcher
from framework.errors import BookingError, DatabaseConflict
from framework.model.timeline import moment, stamp
from framework.trading.broker import BrokerAccount
from framework.trading.costs import Costs

_TICK = timedelta(microseconds=1)
#: How often a decision is made anew because the books have changed under it.
_MOST_ATTEMPTS = 20


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
        patience_seconds: how long the newest bar of some tickers is waited for, when others have it.
        rendezvous: where it waits for allocations, if there are any.
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
        patience_seconds: float = 0.0,
        rendezvous: Rendezvous | None = None,
    ) -> None:
        self.assignment, self._patience_seconds = assignment, patience_seconds
        #: The newest bar that some tickers lack, and since when (monotonic) it is waited for.
        self._partial: tuple[datetime, float] | None = None
        self._identity, self._pool, self._feed, self._coming = assignment.identity, pool, feed, coming
        self._clock, self._booking_clock, self._books_id, self._guard = clock, booking_clock, books_id, guard
        self._watcher, self._rendezvous = watcher or Watcher(), rendezvous
        self._lots = Lots()
        self._facts = RiskFacts(pool, self._identity.portfolio_id, bool(assignment.rules))
        self._decider = Decider(assignment, coming, books_id, clock)
        self._data: StrategyData | None = None
        #: While what came before a split is settled: bars of this session and later are not there for the paper broker.
        self._until: date | None = None
        #: The last moment that a liquidation was tried for.
        self._closed_at: datetime | None = None
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
            self._rate_of,
        )
        told = partial(self._watcher.acted, identity)
        self._flows = DatedFlows(pool, identity.portfolio_id, assignment.flows, booking_clock, told)
        self._actions = Actions(
            pool,
            identity,
            assignment.tickers,
            assignment.actions,
            coming,
            assignment.terms.lots_per_share,
            clock,
            booking_clock,
            self._rate_of,
            told,
        )

    # What a broker that fills orders itself is offered (trading.broker.Exchange).

    def paper_account(self, costs: Costs) -> BrokerAccount:
        """An account that fills at the bars of the data source, with these costs."""
        terms = replace(self.assignment.terms, costs=costs)
        identity = self._identity
        return PaperAccount(self._pool, identity.account, identity.portfolio_id, terms, self._known_bars, self._clock)

    def _known_bars(self, since: datetime) -> Bars:
        """All that is known from a moment on, at least: more than the window, where an order is older than that."""
        data, tickers = self._data, self.assignment.tickers
        assert data is not None, "an account is used within a cycle"
        window, feed, rows = data.window, self._feed, self.assignment.lookback
        while len(window.timeline) >= rows and window.timeline.opens[0] > stamp(since):
            rows *= 4
            feed = self._feed.deeper(tickers, rows)
            with self._pool.transaction(read_only=True, isolation="repeatable read") as connection:
                window = feed.refresh(connection, data.now).window(tickers, rows)
        window = window if self._until is None else window.before(self._until)
        quotes = self._quotes(since)
        rates = None if quotes is None else quotes.on(tickers, window.timeline)
        return Bars(window, self._coming.last_of_session(window.timeline), rates)

    def _quotes(self, since: datetime) -> Quotes | None:
        """The exchange rates from a moment on, at least; ``None``: all tickers are in the portfolio's currency."""
        data, fx = self._data, self.assignment.fx
        assert data is not None, "rates are used within a cycle"
        if fx is None or data.quotes is None or data.quotes.reaches(since):
            return data.quotes
        with self._pool.transaction(read_only=True, isolation="repeatable read") as connection:
            return fx(connection, data.now, since)

    def _rate_of(self, ticker: str, at: datetime) -> tuple[str, Decimal | None]:
        """A ticker's currency, and its rate at a moment where it is not the portfolio's."""
        quotes = self._quotes(at)
        return (self._identity.base_currency, None) if quotes is None else quotes.of(ticker, at)

    # A cycle.

    def cycle(self) -> StrategyData:
        """Do what is due now; what was done before is not done again.

        Returns:
            what the cycle has seen last.

        Raises:
            StrategyError: the strategy failed; nothing of its decision is written.
            EngineError: anything else; every step that was committed stands, and the next cycle goes on from there.
        """
        self._gateway.is_in_doubt = False
        data = self.get_data()
        if not self.is_complete(data):
            return data
        if data.orders:
            data = self._carry_on(data)
        has_begun = self._has_begun(data.window)
        if has_begun:
            self._value(data)
        met = self._meet(data)
        if met is not None:
            data = self.get_data()
        if not has_begun or met == STOPPED:
            return data
        for _ in range(_MOST_ATTEMPTS):
            if data.halted_by is not None or not self._decider.is_due(data) or self._decide(data):
                break
            # It was halted or booked meanwhile, by an operator, or by an engine that was paused; or it was decided, and
            # the answer was lost: then its orders are there to be sent.
            data = self.get_data()
            if data.orders:
                data = self._carry_on(data)
        return data

    def _meet(self, data: StrategyData) -> str | None:
        """Wait for an allocation that is due; see :meth:`Rendezvous.arrive`."""
        if self._rendezvous is None:
            return None
        available = data.window.timeline.available
        known_until = moment(available[-1]) if len(available) else None
        said = self._rendezvous.arrive(self._identity.portfolio_id, data.now, known_until)
        if said:
            self._watcher.acted(self._identity, said)
        return said

    def _carry_on(self, data: StrategyData) -> StrategyData:
        """Bring earlier orders up to date: settled with the broker, taken back under a halt, sent if they may be."""
        if data.is_cancelling:
            halted = [order for order in data.orders if not order.is_liquidation]
            if self._gateway.cancel(halted, "halted"):
                data = self.get_data()
        if self._gateway.settle(data.orders):
            data = self.get_data()
        if any(order.state == "planned" for order in data.orders):
            if self._recheck(data):
                data = self.get_data()
            if self._gateway.send(data.orders):
                data = self.get_data()
        return data

    def _recheck(self, data: StrategyData) -> bool:
        """Ask the risk rules again about orders that an earlier cycle left unsent; whether any has ended."""
        if not self.assignment.rules:
            return False
        planned = [order for order in data.orders if order.state == "planned" and not order.is_liquidation]
        if not planned or data.halted_by is not None:
            return False
        found = self._decider.recheck(data, planned, self._facts.drawdown(), self._facts.sent_before(planned[0].due_at))
        if found.halt is not None:
            with self._pool.connection() as connection:
                halt(connection, self._identity.portfolio_id, found.halt, "risk rule")
            self._watcher.halted(self._identity, found.halt)
            self._gateway.cancel(data.orders, "halted")
            return True
        self._gateway.end(planned, found.refused)
        return bool(found.refused)

    def _has_begun(self, window: Window) -> bool:
        """Whether there is a bar that counts."""
        if not len(window.signal):
            return False
        since = self.assignment.since
        return since is None or bool(window.timeline.session[-1] >= np.datetime64(since, "D"))

    @property
    def is_in_doubt(self) -> bool:
        """Whether the last cycle has left an order between sending and answer."""
        return self._gateway.is_in_doubt

    def is_complete(self, data: StrategyData) -> bool:
        """Whether the newest bar can be acted on: all tickers have it that had the one before, or it was waited for."""
        closes = data.window.trade.close
        if not self._patience_seconds or len(closes) < 2 or not (np.isnan(closes[-1]) & ~np.isnan(closes[-2])).any():
            return True
        bar, now = moment(data.window.timeline.timestamps[-1]), time.monotonic()
        if self._partial is None or self._partial[0] != bar:
            self._partial = bar, now
        return now - self._partial[1] >= self._patience_seconds

    def get_data(self) -> StrategyData:
        """Market window, cash and positions, latest valuation, and the journal, in one read-only transaction.

        Splits and dividends that its newest bars bring are booked before, so that shares and prices go together, and
        so is money that has come or gone by now.

        Raises:
            BookingError: a split became known too late to be booked.
            DatabaseError: nothing was read.
        """
        attempts = 0
        while True:
            data = self._read()
            flow = self._flows.due(data.now)
            if data.due and (flow is None or data.due[0].ex_date <= flow.session):
                self._settle_before(data.due[0].ex_date, data)
                attempts = 0 if self._actions.book(data.due) else attempts + 1
            elif flow is not None:
                self._settle_before(flow.session, data)
                self._flows.book()
            else:
                return data
            if attempts == _MOST_ATTEMPTS:
                raise BookingError(
                    f"portfolio {self._identity.portfolio_id}: the broker has filled orders in {data.due[0].ticker} "
                    f"that cannot be booked, so its split of {data.due[0].ex_date} cannot be either"
                )

    def _settle_before(self, session: date, data: StrategyData) -> None:
        """In the order of events: what was filled before a session; what follows comes with the cycle."""
        self._until = session
        try:
            self._gateway.settle(data.orders)
        finally:
            self._until = None

    def _read(self) -> StrategyData:

        def once() -> StrategyData:
            assignment, portfolio_id, now = self.assignment, self._identity.portfolio_id, self._clock()
            with self._pool.transaction(read_only=True, isolation="repeatable read") as connection:
                market = self._feed.refresh(connection, now)
                state = read_state(connection, portfolio_id)
                orders = journal.read_live_orders(connection, portfolio_id)
                last = journal.read_last_decision(connection, portfolio_id)
                valuation = read_latest_valuation(connection, portfolio_id)
                halts = halts_in_force(connection, portfolio_id)
                quotes = None if assignment.fx is None else assignment.fx(connection, now)
                due = self._actions.due(connection, market)
                limit = read_limit(connection, portfolio_id) if assignment.is_allocated else None
            window = market.window(assignment.tickers, assignment.lookback)
            last_closes = market.last_closes(assignment.tickers)
            is_cancelling = any(not each.keep_orders for each in halts)
            reason = halts[0].reason if halts else None
            return StrategyData(
                now, window, state, valuation, orders, last, reason, is_cancelling, last_closes, quotes, due, limit
            )

        self._data = retry(once)
        return self._data

    def cancel_open_orders(self, reason: str) -> tuple[LiveOrder, ...]:
        """Take back every order that has not ended; those that are still open then."""
        self._gateway.cancel(self.get_data().orders, reason)
        self._gateway.settle(self.get_data().orders)
        return self._live_orders()

    def liquidate(self) -> str:
        """Take back every order, then sell (or buy back) all that is held; what was done, in words.

        Raises:
            BookingError: an order is not final yet, so that what is held is not certain; ask again.
        """
        portfolio_id = self._identity.portfolio_id
        left = self.cancel_open_orders("liquidated")
        if left:
            raise BookingError(f"{len(left)} orders of portfolio {portfolio_id} are not final yet; liquidate again")
        for _ in range(_MOST_ATTEMPTS):
            data = self.get_data()
            held = [(ticker, quantity) for ticker, quantity in data.state.positions.items() if quantity]
            if not held:
                return "nothing is held"
            # Apart from what was decided at this moment, be it a liquidation that a crash has cut off.
            due_at = (data.now if self._closed_at is None else max(data.now, self._closed_at)) + _TICK
            self._closed_at = due_at
            decision = closing(portfolio_id, self._books_id, held, due_at, data.state.newest_trade)
            if journal.decide(self._pool, decision, self._guard):
                self._gateway.send(self._live_orders())
                return f"{len(held)} orders sent that close every position; they fill when the market trades"
        raise BookingError(f"portfolio {portfolio_id} is booked and decided for all the time; liquidate again")

    # Value.

    def _value(self, data: StrategyData) -> None:
        """Write what the portfolio is worth at the newest bar, once."""
        bar = moment(data.window.timeline.timestamps[-1])
        valued_at = None if data.valuation is None else data.valuation.bar_timestamp
        if valued_at is not None and valued_at >= bar:
            return
        known = data.last_closes
        if data.quotes is None:
            marks = {ticker: Mark(_exact(close)) for ticker, close in known.items()}
        else:
            rates = dict(zip(known, data.quotes.at(list(known), data.window.timeline.available[-1:])[0], strict=True))
            marks = {t: Mark(_exact(close), _exact(rates[t])) for t, close in known.items() if rates[t] == rates[t]}
        portfolio_id, newest_trade = self._identity.portfolio_id, data.state.newest_trade
        try:
            valuation = value(self._pool, portfolio_id, marks, self._lots, self._booking_clock(), bar, newest_trade)
        except DatabaseConflict:  # booked meanwhile, by an operator, or by an engine that was paused
            return self._value(self.get_data())
        self._watcher.valued(self._identity, valuation)

    # Decisions.

    def _decide(self, data: StrategyData) -> bool:
        """Ask the strategy, commit what it wants, take back and send; False: the books are not those of ``data``."""
        sent_before = self._facts.sent_before(self._decider.due_at(data))
        decision = self._decider.decide(data, self._facts.drawdown(), sent_before)
        if not journal.decide(self._pool, decision, self._guard):
            return False
        self._watcher.decided(self._identity, decision, self._decider.missed(data))
        if decision.intents or decision.cancels:
            orders = self._live_orders()
            if any(order.cancel_reason is not None for order in orders):
                self._gateway.settle(orders)
                orders = self._live_orders()
            self._gateway.send(orders)
        return True

    def _live_orders(self) -> tuple[LiveOrder, ...]:
        with self._pool.connection() as connection:
            return journal.read_live_orders(connection, self._identity.portfolio_id)


def _exact(price: float) -> Decimal:
    return Decimal(repr(float(price)))
