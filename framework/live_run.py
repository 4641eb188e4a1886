"""A config in mode paper as something that runs: books opened, prices loaded, the live engine started and watched."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from framework.books.open import Identity
from framework.books.state import PortfolioState, Valuation, read_latest_valuation, read_state
from framework.db.database import EMBEDDED, Database
from framework.db.retry import retry
from framework.engine.live import LiveEngine
from framework.engine.observers import HANGS_SECONDS, Observers
from framework.engine.precautions import stale_prices
from framework.engine.runner import Settings
from framework.errors import ConfigError, EngineError
from framework.history import require_lookback
from framework.live_books import Books, clock_of, end_of
from framework.live_news import News
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
        ConfigError: a strategy decides otherwise on its lookback than on all history.
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
        if plan.config.engine.check_lookback:
            require_lookback(plan, database.pool, announce)
        books = Books(plan, database.pool, announce)
        self._identities = books.open()
        self.clock = clock_of(plan, database.pool)
        books.fund(self.clock)
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
        return self._plan.coming().next_bar(self.clock.now()) > end_of(section.end)

    def _how_to_go_on(self) -> str:
        end = self._plan.config.clock.end if self._plan.config.clock is not None else None
        empty = "another database.url"
        if self._plan.config.database.url == EMBEDDED:
            empty = "an empty database (engine db stop; rm -r .engine)"
        return (
            f"Note: the simulated clock is over: these books have lived to its end, {end}; nothing is left to trade. "
            f"To go on, give a later end (--set clock.end=…); to start afresh, use {empty}, or other portfolio ids"
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
            [plan.assignment(portfolio, self._identities[portfolio.id]) for portfolio in config.portfolios],
            self._database.pool,
            self._database.url,
            feed,
            plan.coming(),
            self.clock,
            settings,
            self._news.events(),
            plan.allocating(self._database.pool, feed, self.clock, since, self._news.allocated),
        )

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
