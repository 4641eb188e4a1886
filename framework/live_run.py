"""A config in mode paper as something that runs: books opened, prices loaded, the live engine started and watched."""

from __future__ import annotations

import queue
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

from framework.books.journal import Decision, Intent, LiveOrder, read_live_orders
from framework.books.open import Identity, open_portfolio
from framework.books.opening import book_opening, booked_opening
from framework.books.state import read_latest_valuation, read_state
from framework.config.model import Portfolio
from framework.data.adjust import refuse_splits
from framework.db.database import Database
from framework.db.market import read_corporate_actions
from framework.db.queries import fetch_one
from framework.engine.clock import Clock, RealClock, SimulatedClock
from framework.engine.commands import Command
from framework.engine.decider import StrategyData
from framework.engine.gateway import Filled
from framework.engine.live import LiveEngine
from framework.engine.runner import Events, Settings
from framework.engine.worker import Watcher
from framework.errors import BookingError, ConfigError, EngineError
from framework.model.money import price_decimal
from framework.model.result import Ending
from framework.runs import Announce, Plan, Progress, ensured

#: Events that wait to be shown; more are counted and not shown.
_BACKLOG = 10_000


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
        self._events: queue.Queue[Callable[[], None]] = queue.Queue(_BACKLOG)
        self._unshown = 0
        self._last_failure: BaseException | None = None
        self._counts: dict[str, dict[str, int]] = {
            portfolio.id: {"trades": 0, "decisions": 0, "failures": 0} for portfolio in plan.config.portfolios
        }
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
        self._open_books()
        self._note_actions()
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
        self._plan.manager.notify("engine_started", name=self._plan.config.name)
        is_alive = self._engine.run(self._show)
        self._plan.manager.notify("engine_stopped", name=self._plan.config.name)
        if self._unshown:
            self._announce(f"Note: {self._unshown} events came too fast to be shown; the books have them all")
        if not is_alive:
            raise EngineError(
                f"every portfolio has stopped for its failures, the last with: {self._last_failure}; "
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
        start, end = (datetime.combine(day, time(), UTC) for day in (section.start, section.end))
        # What was lived through stays so: a restart goes on where the books end.
        newest = booked[0] if booked is not None and booked[0] is not None else start
        return SimulatedClock(max(start, newest), end + timedelta(days=1), section.seconds_per_day)

    def _describe_clock(self) -> str:
        section, now = self._plan.config.clock, self.clock.now()
        if section is None:
            return f"real time, {now:%Y-%m-%d %H:%M} UTC"
        return f"simulated clock from {now:%Y-%m-%d %H:%M} UTC to {section.end}, {section.seconds_per_day:g} s a day"

    def _open_books(self) -> None:
        for portfolio in self._plan.config.portfolios:
            with self._database.pool.connection() as connection:
                state = read_state(connection, portfolio.id)
                orders = read_live_orders(connection, portfolio.id)
                opening = booked_opening(connection, portfolio.id)
            cash = price_decimal(Decimal(repr(portfolio.cash or 0)))
            if cash and state.cash is None:
                at = self.clock.now() if self.clock.is_simulated else None
                if book_opening(self._database.pool, portfolio.id, cash, at):
                    self._announce(f"Opened portfolio {portfolio.id} with {cash:,.2f} {portfolio.currency}")
            elif cash and cash != opening:
                began = "without an opening deposit" if opening is None else f"with {opening:,.2f}"
                self._announce(
                    f"Note: portfolio {portfolio.id} was opened {began} and keeps its books; cash: {cash:,.2f} of the "
                    "config is only for books that are empty"
                )
            known = {ticker for ticker, held in state.positions.items() if held} | {order.ticker for order in orders}
            orphans = sorted(known - set(portfolio.tickers))
            if orphans:
                raise BookingError(
                    f"portfolio {portfolio.id} holds, or has open orders in, {', '.join(orphans)}, which the config "
                    "does not name; add them to its tickers (the strategy may exit them), so that they can be valued"
                )

    def _note_actions(self) -> None:
        """Splits do not act on positions yet, so none may come; dividends are not paid yet, which is said."""
        plan = self._plan
        with self._database.pool.connection() as connection:
            actions = read_corporate_actions(connection, plan.source.key(), list(plan.tickers))
        refuse_splits(actions, plan.start, plan.end)
        coming = [each for each in actions if each.kind == "dividend" and plan.start <= each.ex_date <= plan.end]
        if coming:
            self._announce(
                f"Note: {len(coming)} dividends lie in this run; this version does not pay them into the books"
            )

    def _make_engine(self) -> LiveEngine:
        from framework import __version__

        plan, config = self._plan, self._plan.config
        settings = Settings(
            config.engine.lease_seconds,
            config.engine.send_timeout_seconds,
            config.engine.max_consecutive_failures,
            config.engine.bar_patience_seconds,
        )
        watcher = Watcher(self._filled, self._ended, self._decided, halted=self._halted)
        return LiveEngine(
            config.name,
            __version__,
            [plan.assignment(portfolio, self._identities[portfolio.id]) for portfolio in config.portfolios],
            self._database.pool,
            self._database.url,
            plan.feed(),
            plan.coming(),
            self.clock,
            settings,
            Events(watcher, self._cycled, self._failed, self._commanded, self._waiting),
        )

    # What the engine's threads tell; shown on the calling thread.

    def _later(self, show: Callable[[], None]) -> None:
        try:
            self._events.put_nowait(show)
        except queue.Full:
            self._unshown += 1

    def _show(self) -> None:
        while True:
            try:
                self._events.get_nowait()()
            except queue.Empty:
                return

    def _line(self, portfolio_id: str, text: str) -> None:
        line = f"{self.clock.now():%Y-%m-%d %H:%M}  {portfolio_id:<10} {text}"
        self._later(lambda: self._announce(line))

    def _filled(self, identity: Identity, filled: Filled) -> None:
        fill, name = filled.fill, identity.portfolio_id
        self._counts[name]["trades"] += 1
        done = "bought" if fill.side == "BUY" else "sold"
        self._line(
            name,
            f"{done} {fill.quantity.normalize():f} {fill.ticker} at {fill.price:,.4f}, fees {fill.fees:,.2f}",
        )
        self._later(lambda: self._plan.manager.notify("fill_booked", portfolio_id=name, fill=fill))

    def _ended(self, identity: Identity, order: LiveOrder, reason: str | None) -> None:
        if reason is not None:
            self._line(identity.portfolio_id, f"order {order.side} {order.ticker} ended: {reason}")

    def _decided(self, identity: Identity, decision: Decision, missed: int) -> None:
        name = identity.portfolio_id
        self._counts[name]["decisions"] += 1
        if missed:
            self._line(name, f"missed {missed} moments of its schedule; decided on {decision.bar_timestamp:%Y-%m-%d}")
        if decision.halted_by is not None:
            self._halted(identity, decision.halted_by)
        for intent in decision.intents:
            asked = (
                f"{intent.side} {'' if intent.quantity is None else f'{intent.quantity.normalize():f} '}{intent.ticker}"
            )
            if intent.reason is not None:
                self._line(name, f"refused {asked}: {intent.reason}")
                self._later(
                    lambda intent=intent: self._plan.manager.notify(  # type: ignore[misc]
                        "order_refused",
                        portfolio_id=name,
                        ticker=intent.ticker,
                        quantity=_signed(intent),
                        reason=intent.reason,
                    )
                )

    def _halted(self, identity: Identity, reason: str) -> None:
        name = identity.portfolio_id
        self._line(name, f"HALTED by {reason}; engine resume {name} lets it trade again")
        self._later(lambda: self._plan.manager.notify("portfolio_halted", portfolio_id=name, reason=reason))

    def _waiting(self, portfolio_ids: tuple[str, ...], holder: str, seconds: float) -> None:
        text = (
            f"Waiting for {', '.join(portfolio_ids)}: engine {holder} holds them. If it does not live any more, they "
            f"are taken over in {seconds:.0f} s; before that, two engines might trade them at once"
        )
        self._later(lambda: self._announce(text))

    def _cycled(self, portfolio_id: str, data: StrategyData) -> None:
        self._later(lambda: self._plan.manager.notify("cycle_finished", portfolio_id=portfolio_id, time=data.now))

    def _failed(self, portfolio_id: str, error: BaseException, stopped: bool) -> None:
        self._counts[portfolio_id]["failures"] += 1
        self._last_failure = error
        if stopped:
            self._line(portfolio_id, f"STOPPED: {error}")

    def _commanded(self, command: Command, answer: str) -> None:
        self._line(command.portfolio_id, f"{command.kind} asked by {command.asked_by}: {answer}")

    # The end.

    def _ending(self, identity: Identity) -> Ending:
        name = identity.portfolio_id
        with self._database.pool.connection() as connection:
            state = read_state(connection, name)
            valuation = read_latest_valuation(connection, name)
        held = {ticker: quantity for ticker, quantity in state.positions.items() if quantity}
        return Ending(
            name,
            identity.base_currency,
            state.cash or Decimal(0),
            None if valuation is None else valuation.equity,
            None if valuation is None else valuation.notional,
            held,
            **self._counts[name],
        )


def _signed(intent: Intent) -> float:
    """Shares, negative for a sale; 0: it was never sized."""
    shares = float(intent.quantity or 0)
    return shares if intent.side == "BUY" else -shares


def _identity(plan: Plan, portfolio: Portfolio) -> Identity:
    """A paper portfolio trades in an account of its own at the paper broker."""
    return Identity(portfolio.id, "paper", plan.config.broker.name, portfolio.id, portfolio.currency)
