"""One allocation by hand, on the books of a config in mode paper."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from decimal import Decimal

from framework.books.allocation import Allocated
from framework.books.open import portfolios
from framework.books.state import read_state
from framework.data.moments import Due, moments
from framework.db.database import Database
from framework.engine.clock import Clock
from framework.errors import BookingError, ConfigError, NotBuiltYet
from framework.live_books import Books, clock_of, identities
from framework.model.master import MASTER
from framework.plan import Plan
from framework.runs import Announce, Progress, ensured
from framework.trading.allocation import Allocation

#: No exchange closes for longer.
_AROUND = timedelta(days=20)


@dataclass(frozen=True)
class HandAllocation:
    """An allocation made, or proposed, by hand.

    Attributes:
        allocated: it.
        session: exchange date of the prices that it goes by.
        currency: of all money.
        master_before, master_after: cash of the master account.
        is_proposed: nothing was written.
    """

    allocated: Allocated
    session: str
    currency: str
    master_before: Decimal
    master_after: Decimal
    is_proposed: bool


class HandRun:
    """Allocates once.

    Args:
        plan: of the config.
        database: where the books are.
        by: who asks, for the books.
        progress: is told how far loading is.
        announce: is told a line for each thing that happens.

    Raises:
        ConfigError: the config has no allocator.
        NotBuiltYet: it is of a mode without books that stay.
    """

    def __init__(self, plan: Plan, database: Database, by: str, progress: Progress, announce: Announce) -> None:
        if plan.config.mode != "paper":
            raise NotBuiltYet(
                f"{plan.loaded.path}: engine allocate is for books that stay, of mode paper; the config has mode "
                f"{plan.config.mode}, whose allocations are part of its run"
            )
        if plan.allocation is None:
            raise ConfigError(f"{plan.loaded.path}: has no `allocator:`, so there is nothing to allocate by")
        self._plan, self._pool, self._by, self._announce = plan, database.pool, by, announce
        self._allocation: Allocation = plan.allocation
        for note in ensured(plan, database, progress).notes():
            announce(f"Note: {note}")

    def run(self, reference: str | None, dry_run: bool) -> HandAllocation:
        """Allocate, or say what an allocation would do.

        Args:
            reference: what it is known by; ``None``: the session, as the schedule's.
            dry_run: write nothing.

        Raises:
            AllocationError, BookingError, DatabaseError: see :func:`framework.books.allocation.allocate`.
        """
        plan, name = self._plan, None if reference is None else f"{self._allocation.name}:{reference}"
        clock = self._clock(dry_run)
        desk = plan.allocation_desk(self._pool, plan.feed(), self._by)
        now, due = clock.now(), self._due(clock)
        before = self._master_cash()
        if dry_run:
            allocated = desk.propose(due, now, name)
        else:
            allocated = desk.make(due, now, now if clock.is_simulated else None, name)
        moved = sum((share.transfer for share in allocated.shares), Decimal(0))
        after = before if allocated.already else before - moved
        return HandAllocation(allocated, str(due.session), self._allocation.currency, before, after, dry_run)

    def _clock(self, dry_run: bool) -> Clock:
        """The clock of the books, which are open afterwards."""
        if dry_run:
            known = {identity.portfolio_id for identity in portfolios(self._pool)}
            missing = sorted({MASTER, *identities(self._plan)} - known)
            if missing:
                raise BookingError(
                    f"portfolio {missing[0]} is not open yet, so there is nothing to value; the allocation itself, "
                    "without --dry-run, opens it"
                )
            return clock_of(self._plan, self._pool)
        books = Books(self._plan, self._pool, self._announce)
        books.open()
        clock = clock_of(self._plan, self._pool)
        books.fund(clock)
        return clock

    def _due(self, clock: Clock) -> Due:
        """The last close that has come."""
        config, now = self._plan.config, clock.now()
        settle = self._plan.source.settle_of(config.interval)
        day = now.astimezone(UTC).date()
        known = moments(config.calendar, config.interval, settle, "daily", day - _AROUND, day)
        return [due for due in known if due.at <= now][-1]

    def _master_cash(self) -> Decimal:
        with self._pool.connection() as connection:
            return read_state(connection, MASTER).cash or Decimal(0)
