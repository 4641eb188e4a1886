"""The books that a config in mode paper trades on: opened, funded once, and the clock that they live by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from framework.books.journal import read_live_orders
from framework.books.open import Identity, open_portfolio, portfolios
from framework.books.opening import book_opening, booked_opening
from framework.books.state import read_state
from framework.config.model import Portfolio
from framework.db.pool import Pool
from framework.db.queries import fetch_one
from framework.engine.clock import Clock, RealClock, SimulatedClock
from framework.errors import BookingError
from framework.model.master import MASTER
from framework.model.money import price_decimal
from framework.plan import Plan


def identities(plan: Plan) -> dict[str, Identity]:
    """Whose books they are: a paper portfolio trades in an account of its own at the paper broker."""
    broker = plan.config.broker.name
    return {each.id: Identity(each.id, "paper", broker, each.id, each.currency) for each in plan.config.portfolios}


def clock_of(plan: Plan, pool: Pool) -> Clock:
    """The real time as the database has it, or the config's simulated clock, which goes on where the books end."""
    section = plan.config.clock
    with pool.connection() as connection:
        if section is None:
            row = fetch_one(connection, "database_time")
            assert row is not None
            return RealClock(row[0])
        ids = [portfolio.id for portfolio in plan.config.portfolios]
        booked = fetch_one(connection, "latest_moment", {"portfolio_ids": ids})
    start = datetime.combine(section.start, time(), UTC)
    # What was lived through stays so: a restart goes on where the books end.
    newest = booked[0] if booked is not None and booked[0] is not None else start
    # Bookings of one moment lie microseconds apart; the moments themselves are whole seconds.
    return SimulatedClock(max(start, newest.replace(microsecond=0)), end_of(section.end), section.seconds_per_day)


def end_of(day: date) -> datetime:
    """The moment at which a day is over."""
    return datetime.combine(day, time(), UTC) + timedelta(days=1)


class Books:
    """The books of a config.

    Args:
        plan: its plugins, made and checked.
        pool: of the database.
        announce: is told what is opened, and what is not as the config has it.
    """

    def __init__(self, plan: Plan, pool: Pool, announce: Callable[[str], None]) -> None:
        self._plan, self._pool, self._announce = plan, pool, announce

    def open(self) -> dict[str, Identity]:
        """Open what is not open yet: the portfolios and, where there is an allocator, the master account.

        Raises:
            PortfolioMismatch: the books of one belong to another mode, broker, account or currency.
        """
        mine = identities(self._plan)
        for identity in mine.values():
            open_portfolio(self._pool, identity)
        allocation = self._plan.allocation
        if allocation is not None:
            master = Identity(MASTER, "paper", self._plan.config.broker.name, "master", allocation.currency)
            opened = portfolios(self._pool, [MASTER])
            if opened:  # it trades nowhere: only its mode and currency count
                master = replace(master, broker=opened[0].broker, account=opened[0].account)
            open_portfolio(self._pool, master)
        return mine

    def fund(self, clock: Clock) -> None:
        """Book the opening deposits into books that are empty.

        Raises:
            BookingError: a portfolio holds what the config does not name.
        """
        at = clock.now() if clock.is_simulated else None
        allocation = self._plan.allocation
        if allocation is not None:
            self._deposit(MASTER, self._plan.config.master.cash, allocation.currency, at)
        for portfolio in self._plan.config.portfolios:
            self._deposit(portfolio.id, portfolio.cash or 0.0, portfolio.currency, at)
            self._refuse_orphans(portfolio)

    def _deposit(self, portfolio_id: str, wanted: float, currency: str, at: datetime | None) -> None:
        """Book an opening deposit, once; say so where the books began with another."""
        cash = price_decimal(Decimal(repr(wanted)))
        with self._pool.connection() as connection:
            balance = read_state(connection, portfolio_id).cash
            opening = booked_opening(connection, portfolio_id)
        if cash and balance is None:
            if book_opening(self._pool, portfolio_id, cash, at):
                self._announce(f"Opened portfolio {portfolio_id} with {cash:,.2f} {currency}")
        elif cash and cash != opening:
            began = "without an opening deposit" if opening is None else f"with {opening:,.2f}"
            self._announce(
                f"Note: portfolio {portfolio_id} was opened {began} and keeps its books; cash: {cash:,.2f} of the "
                "config is only for books that are empty"
            )

    def _refuse_orphans(self, portfolio: Portfolio) -> None:
        with self._pool.connection() as connection:
            state = read_state(connection, portfolio.id)
            orders = read_live_orders(connection, portfolio.id)
        known = {ticker for ticker, held in state.positions.items() if held} | {order.ticker for order in orders}
        orphans = sorted(known - set(portfolio.tickers))
        if orphans:
            raise BookingError(
                f"portfolio {portfolio.id} holds, or has open orders in, {', '.join(orphans)}, which the config "
                "does not name; add them to its tickers (the strategy may exit them), so that they can be valued"
            )
