"""A config in mode paper as something that runs: books opened, prices loaded, the live engine started and watched."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from framework.books.allocation import MASTER
from framework.books.journal import read_live_orders
from framework.books.open import Identity, open_portfolio, portfolios
from framework.books.opening import book_opening, booked_opening
from framework.books.state import PortfolioState, Valuation, read_latest_valuation, read_state
from framework.config.model import Portfolio
from framework.db.database import EMBEDDED, Database
from framework.db.queries import fetch_one
from framework.db.retry import retry
from framework.engine.clock import Clock, RealClock, SimulatedClock
from framework.engine.decider import Assignment
from framework.engine.live import LiveEngine
from framework.engine.observers import HANGS_SECONDS, Observers
from framework.engine.precautions import stale_prices
from framework.engine.runner import Settings
from framework.errors import BookingError, ConfigError, EngineError
from framework.live_news import News
from framework.model.money import price_decimal
from framework.model.result import Ending
from framework.plan import Plan
from framework.runs import Announce, Progress, ensured


class LiveRun:
    """One run of a config in mode paper.

    Args:
        plan: its plugins, made and checked.
        database: where the books are.
        announce: is told a line for each thing that happens.
        progress: is told how far loading is.

    Raises:
        PortfolioMismatch: the books of a portfolio belong to another mode, broker, account or currency.
        EngineError: plugins, data or database; see :mod:`framework.errors`.
    """

    def __init__(self, plan: Plan, database: Database, announce: Announce, progress: Progress) -> None:
        self._plan, self._database, self._announce = plan, database, announce
        if plan.broker.real_money:
            raise ConfigError(
                f"broker {plan.config.broker.name!r} moves real money, which mode paper never does; use the broker "
                "'paper', or mode live"
            )
        if plan.source.price_kind() == "adjusted":
            raise ConfigError(
                f"data source {plan.source.key()!r} gives adjusted prices, which nobody ever traded at: mode paper "
                "needs prices as traded"
            )
        loaded = ensured(plan, database, progress)
        for note in loaded.notes():
            announce(f"Note: {note}")
        self._identities = {portfolio.id: _identity(plan, portfolio) for portfolio in plan.config.portfolios}
        for identity in self._identities.values():
            open_portfolio(database.pool, identity)
        self.clock = self._clock()
        self._open_master()
        self._open_books()
        self._note_stale_prices()
        self._observers = Observers(plan.manager.notify, plan.manager.event_failures)
        self._news = News(announce, self._observers, self.clock, self._identities)
        self._engine = self._make_engine()

    def run(self) -> None:
        """Run until stopped, or until the simulated clock is over; the calling thread shows what happens.

        Raises:
            EngineError: every portfolio has stopped for its failures.
        """
        self._announce(
            f"Engine {self._engine.holder}: {len(self._identities)} portfolio(s), mode {self._plan.config.mode}, "
            f"{self._describe_clock()}"
        )
        if self._is_over():
            self._announce(self._how_to_go_on())
        self._observers.start()
        self._observers.tell("engine_started", name=self._plan.config.name)
        is_alive = self._engine.run(self._news.show)
        self._observers.tell("engine_stopped", name=self._plan.config.name)
        for note in (*self._news.notes(), *self._observers.close(HANGS_SECONDS)):
            self._announce(f"Note: {note}")
        if not is_alive:
            raise EngineError(
                f"every portfolio has stopped for its failures, the last with: {self._news.last_failure}; "
                "`engine status` shows each"
            )

    def endings(self) -> list[Ending]:
        """How every portfolio stands."""
        return [self._ending(identity) for identity in self._identities.values()]

    def stop(self) -> None:
        """Let every portfolio finish its cycle, and end; safe from a signal handler."""
        self._engine.stop()

    # Set-up.

    def _clock(self) -> Clock:
        section = self._plan.config.clock
        with self._database.pool.connection() as connection:
            if section is None:
                row = fetch_one(connection, "database_time")
                assert row is not None
                return RealClock(row[0])
            booked = fetch_one(connection, "latest_moment", {"portfolio_ids": list(self._identities)})
        start = datetime.combine(section.start, time(), UTC)
        # What was lived through stays so: a restart goes on where the books end.
        newest = booked[0] if booked is not None and booked[0] is not None else start
        # Bookings of one moment lie microseconds apart; the moments themselves are whole seconds.
        return SimulatedClock(max(start, newest.replace(microsecond=0)), _end_of(section.end), section.seconds_per_day)

    def _describe_clock(self) -> str:
        section, now = self._plan.config.clock, self.clock.now()
        if section is None:
            return f"real time, {now:%Y-%m-%d %H:%M} UTC"
        return f"simulated clock from {now:%Y-%m-%d %H:%M} UTC to {section.end}, {section.seconds_per_day:g} s a day"

    def _is_over(self) -> bool:
        """Whether no bar comes any more before the simulated clock's end."""
        section = self._plan.config.clock
        if section is None:
            return False
        return self._plan.coming().next_bar(self.clock.now()) > _end_of(section.end)

    def _how_to_go_on(self) -> str:
        end = self._plan.config.clock.end if self._plan.config.clock is not None else None
        empty = "another database.url"
        if self._plan.config.database.url == EMBEDDED:
            empty = "an empty database (engine db stop; rm -r .engine)"
        return (
            f"Note: the simulated clock is over: these books have lived to its end, {end}; nothing is left to trade. "
            f"To go on, give a later end (--set clock.end=…); to start afresh, use {empty}, or other portfolio ids"
        )

    def _open_master(self) -> None:
        """Open the master account, which has no broker: only its mode and currency count."""
        plan, pool = self._plan, self._database.pool
        if plan.allocation is None:
            return
        mine = Identity(MASTER, "paper", plan.config.broker.name, "master", plan.allocation.currency)
        opened = portfolios(pool, [MASTER])
        if opened:
            mine = replace(mine, broker=opened[0].broker, account=opened[0].account)
        open_portfolio(pool, mine)
        self._deposit(MASTER, plan.config.master.cash, plan.allocation.currency)

    def _open_books(self) -> None:
        for portfolio in self._plan.config.portfolios:
            with self._database.pool.connection() as connection:
                state = read_state(connection, portfolio.id)
                orders = read_live_orders(connection, portfolio.id)
            self._deposit(portfolio.id, portfolio.cash or 0.0, portfolio.currency)
            known = {ticker for ticker, held in state.positions.items() if held} | {order.ticker for order in orders}
            orphans = sorted(known - set(portfolio.tickers))
            if orphans:
                raise BookingError(
                    f"portfolio {portfolio.id} holds, or has open orders in, {', '.join(orphans)}, which the config "
                    "does not name; add them to its tickers (the strategy may exit them), so that they can be valued"
                )

    def _deposit(self, portfolio_id: str, wanted: float, currency: str) -> None:
        """Book the opening deposit into books that are empty; say so where they are not and began with another."""
        cash = price_decimal(Decimal(repr(wanted)))
        with self._database.pool.connection() as connection:
            balance = read_state(connection, portfolio_id).cash
            opening = booked_opening(connection, portfolio_id)
        if cash and balance is None:
            at = self.clock.now() if self.clock.is_simulated else None
            if book_opening(self._database.pool, portfolio_id, cash, at):
                self._announce(f"Opened portfolio {portfolio_id} with {cash:,.2f} {currency}")
        elif cash and cash != opening:
            began = "without an opening deposit" if opening is None else f"with {opening:,.2f}"
            self._announce(
                f"Note: portfolio {portfolio_id} was opened {began} and keeps its books; cash: {cash:,.2f} of the "
                "config is only for books that are empty"
            )

    def _note_stale_prices(self) -> None:
        """In real time: prices that are old mean that the source brings none."""
        plan, config = self._plan, self._plan.config
        if config.clock is not None:
            return
        with self._database.pool.connection() as connection:
            found = stale_prices(
                connection, plan.source.key(), config.interval, config.calendar, plan.tickers, self.clock.now().date()
            )
        for sentence in found:
            self._announce(f"Note: {sentence}; it is traded when newer bars come (`engine data ingest` brings them)")

    def _make_engine(self) -> LiveEngine:
        from framework import __version__

        plan, config = self._plan, self._plan.config
        settings = Settings(
            config.engine.lease_seconds,
            config.engine.send_timeout_seconds,
            config.engine.max_consecutive_failures,
            config.engine.bar_patience_seconds,
        )
        feed = plan.feed()
        since = date.min if config.clock is None else config.clock.start
        return LiveEngine(
            config.name,
            __version__,
            [self._assignment(portfolio) for portfolio in config.portfolios],
            self._database.pool,
            self._database.url,
            feed,
            plan.coming(),
            self.clock,
            settings,
            self._news.events(),
            plan.allocating(self._database.pool, feed, self.clock, since, self._news.allocated),
        )

    def _assignment(self, portfolio: Portfolio) -> Assignment:
        """It trades at prices as traded, so splits and dividends act on its books."""
        made = self._plan.assignment(portfolio, self._identities[portfolio.id])
        return replace(made, actions=self._plan.source.key())

    # The end.

    def _ending(self, identity: Identity) -> Ending:
        name = identity.portfolio_id

        def read() -> tuple[PortfolioState, Valuation | None]:
            with self._database.pool.connection() as connection:
                return read_state(connection, name), read_latest_valuation(connection, name)

        state, valuation = retry(read)
        held = {ticker: quantity for ticker, quantity in state.positions.items() if quantity}
        return Ending(
            name,
            identity.base_currency,
            state.cash or Decimal(0),
            None if valuation is None else valuation.equity,
            None if valuation is None else valuation.notional,
            held,
            **self._news.counts[name],
        )


def _end_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC) + timedelta(days=1)


def _identity(plan: Plan, portfolio: Portfolio) -> Identity:
    """A paper portfolio trades in an account of its own at the paper broker."""
    return Identity(portfolio.id, "paper", plan.config.broker.name, portfolio.id, portfolio.currency)
