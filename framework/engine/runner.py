"""One portfolio's thread in the live engine: cycles when they are due, commands in between, patience with failures."""

from __future__ import annotations

import logging
import queue
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from framework.data.coming import Coming
from framework.data.feed import Feed
from framework.db.pool import Pool
from framework.db.retry import retry
from framework.db.types import Connection
from framework.engine import commands
from framework.engine.allocating import Rendezvous
from framework.engine.clock import Clock
from framework.engine.commands import Command
from framework.engine.decider import Assignment, StrategyData
from framework.engine.leases import Lease, portfolio_lease, require_lease
from framework.engine.status import PortfolioStatus, State
from framework.engine.watcher import Watcher
from framework.engine.worker import Worker
from framework.errors import (
    BrokerUnavailable,
    DatabaseBusy,
    DatabaseConflict,
    DatabaseNotReady,
    DatabaseUnavailable,
    EngineError,
    LeaseLost,
    PoolTimeout,
)

log = logging.getLogger(__name__)

#: Failures that say nothing about the portfolio: the engine waits until it can be reached again, however long.
OUTAGES = (DatabaseUnavailable, DatabaseBusy, DatabaseNotReady, DatabaseConflict, PoolTimeout, BrokerUnavailable)
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
#: After which an order that was left in doubt is looked at again.
_DOUBT_SECONDS = 0.5
#: What a cycle takes at most besides its strategy, or it is said to hang.
_GRACE_SECONDS = 5.0
#: How often a late bar is looked for, where no notification comes.
_POLL = timedelta(seconds=30)
#: The same for one that other tickers have already.
_SOON = timedelta(seconds=2)


@dataclass(frozen=True)
class Settings:
    """How an engine behaves.

    Attributes:
        lease_seconds: until a lease that is not renewed expires.
        send_timeout_seconds: longest time that a request to a broker can be under way.
        max_consecutive_failures: of one portfolio's cycles; then it stops.
        bar_patience_seconds: how long a bar that other tickers have is waited for, by a real clock.
    """

    lease_seconds: float = 30.0
    send_timeout_seconds: float = 10.0
    max_consecutive_failures: int = 5
    bar_patience_seconds: float = 30.0


@dataclass(frozen=True)
class Events:
    """Who is told what an engine does; called from its threads, so it must return at once.

    ``failed``: portfolio id, the error, whether the portfolio has stopped.
    """

    watcher: Watcher = field(default_factory=Watcher)
    cycled: Callable[[str, StrategyData], None] = lambda portfolio_id, data: None
    failed: Callable[[str, BaseException, bool], None] = lambda portfolio_id, error, stopped: None
    commanded: Callable[[Command, str], None] = lambda command, answer: None
    #: Portfolios that another engine holds, its name, and how many seconds they have to be waited for at most.
    waiting: Callable[[tuple[str, ...], str, float], None] = lambda portfolio_ids, holder, seconds: None


class Runner:
    """One portfolio's thread."""

    def __init__(
        self,
        assignment: Assignment,
        pool: Pool,
        feed: Feed,
        coming: Coming,
        clock: Clock,
        books_id: str,
        settings: Settings,
        events: Events,
        rendezvous: Rendezvous | None = None,
    ) -> None:
        self._name, self._schedule = assignment.identity.portfolio_id, assignment.schedule
        self.lease_name = portfolio_lease(self._name)
        self.lease: Lease | None = None
        self._clock, self._coming, self._settings, self._events = clock, coming, settings, events
        self._decision_seconds = assignment.decision_seconds
        self._pool, self._sleeper = pool, clock.sleeper()
        self._worker = Worker(
            assignment,
            pool,
            feed,
            coming,
            clock.now,
            clock.now if clock.is_simulated else _database_time,
            books_id,
            self._guard,
            events.watcher,
            # A simulated clock stands still while bars are loaded: what is missing does not come.
            0.0 if clock.is_simulated else settings.bar_patience_seconds,
            rendezvous,
        )
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._status = PortfolioStatus(self._name, "starting", datetime.now(UTC))
        self.has_given_up = self.is_done = False

    # Called by other threads.

    def hold(self, lease: Lease) -> None:
        """The portfolio is this engine's from now on."""
        self.lease = lease
        self._sleeper.wake()

    def lose(self) -> None:
        """It is another engine's."""
        self.lease = None

    def order(self, command: Command) -> None:
        """An operator asks for something."""
        self._commands.put(command)
        self._sleeper.wake()

    def wake(self) -> None:
        """Something may have changed."""
        self._sleeper.wake()

    def status(self) -> PortfolioStatus:
        """How it is."""
        hangs = self.hangs()
        return replace(self._status, reason=hangs) if hangs else self._status

    def hangs(self) -> str | None:
        """Words for a cycle that has not come to its end in time; ``None``: there is none."""
        status = self._status
        seconds = (datetime.now(UTC) - status.state_since).total_seconds()
        if status.state != "deciding" or seconds <= self._decision_seconds + _GRACE_SECONDS:
            return None
        return (
            f"the cycle has not returned for {seconds:.0f} s (decision_seconds: {self._decision_seconds:g}); what its "
            "strategy decides is not sent any more"
        )

    # The thread.

    def run(self) -> None:
        """Cycles and commands, until the clock is over or the portfolio has failed too often."""
        try:
            while not self._clock.is_over:
                if self.has_given_up:
                    if self._clock.is_simulated:  # time would stand still for all others
                        break
                    self._sleeper.wait(None)
                    self._hear()
                elif self.lease is None:
                    self._sleeper.wait(None)
                else:
                    self._sleeper.wait(self._once())
        finally:
            self.is_done = True
            self._sleeper.close()

    def _once(self) -> datetime:
        """Commands and one cycle; when to do it again."""
        try:
            self._obey()
            self._say("deciding")
            data = self._worker.cycle()
        except LeaseLost as error:
            self.lose()
            log.warning("portfolio %s: %s", self._name, error)
            return self._clock.now()
        except BaseException as error:  # noqa: BLE001  # plugin code runs in here: it stops this portfolio at most
            return self._failed(error)
        due = self._next(data)
        state: State = "halted" if data.halted_by is not None else "waiting"
        self._say(
            state,
            data.halted_by,
            last_cycle_at=datetime.now(UTC),
            cycles=self._status.cycles + 1,
            consecutive_failures=0,
            last_error=None,
            next_due_at=due,
        )
        self._events.cycled(self._name, data)
        return due

    def _next(self, data: StrategyData) -> datetime:
        """When the next bar should be known; in real time also now and then, for what came late."""
        if self._worker.is_in_doubt:
            self._pause(_DOUBT_SECONDS)
            return self._clock.now()
        due = self._coming.next_due(self._schedule, data.now)
        if self._clock.is_simulated:
            return due
        poll = _POLL if self._worker.is_complete(data) else _SOON
        return min(due, self._clock.now() + poll)

    def _failed(self, error: BaseException) -> datetime:
        """Count a failure and wait; too many, and the portfolio stops."""
        is_outage = isinstance(error, OUTAGES)
        failures = self._status.consecutive_failures + (0 if is_outage else 1)
        self.has_given_up = failures >= self._settings.max_consecutive_failures
        text = str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"
        log.warning("portfolio %s: cycle failed: %s", self._name, text, exc_info=not isinstance(error, EngineError))
        reason = f"stopped after {failures} failures in a row" if self.has_given_up else None
        self._say("stopped" if self.has_given_up else "waiting", reason, consecutive_failures=failures, last_error=text)
        self._events.failed(self._name, error, self.has_given_up)
        if not self.has_given_up:
            self._back_off(failures)
        return self._clock.now()

    def _back_off(self, failures: int) -> None:
        """Wait after a failure; after each that follows longer."""
        longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(failures, 10))
        self._pause(random.uniform(longest / 2, longest))

    def _pause(self, seconds: float) -> None:
        """Real time, also under a simulated clock, which stands still meanwhile."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._clock.is_over:
            time.sleep(0.05)

    def _hear(self) -> None:
        """Commands for a portfolio that has stopped; to resume lets it run again."""
        try:
            self._obey()
        except EngineError as error:
            log.warning("portfolio %s: a command could not be answered: %s", self._name, error)

    def _obey(self) -> None:
        """Do what operators have asked for, and answer."""
        while not self._commands.empty():
            command = self._commands.get()
            try:
                text, failed = self._execute(command), False
            except EngineError as error:
                text, failed = str(error), True
            except Exception as error:  # a broker plugin's
                log.warning("portfolio %s: %s failed", self._name, command.kind, exc_info=True)
                text, failed = f"{type(error).__name__}: {error}", True
            self._answer(command, text, failed)

    def _answer(self, command: Command, text: str, failed: bool) -> None:
        def once() -> None:
            with self._pool.connection() as connection:
                commands.answer(connection, command, text, failed=failed)

        retry(once)
        self._events.commanded(command, text)

    def _execute(self, command: Command) -> str:
        if command.kind == "liquidate":
            return self._worker.liquidate()
        if command.kind == "halt" and not command.arguments.get("keep_orders"):
            left = self._worker.cancel_open_orders("halted")
            return f"halted; {len(left)} orders are not final yet" if left else "halted; no order is open"
        if command.kind == "halt":
            return "halted; open orders are kept"
        if self.has_given_up:
            self.has_given_up = False
            self._say("waiting", consecutive_failures=0)
        return "resumed"

    def _guard(self, connection: Connection) -> None:
        lease = self.lease
        if lease is None:
            raise LeaseLost(f"portfolio {self._name} is run by another engine now; nothing was written")
        require_lease(connection, lease)

    def _say(self, state: State, reason: str | None = None, **more: object) -> None:
        since = self._status.state_since if state == self._status.state else datetime.now(UTC)
        changes: Mapping[str, object] = {"state": state, "state_since": since, "reason": reason, **more}
        self._status = replace(self._status, **changes)  # type: ignore[arg-type]


def _database_time() -> None:
    """Bookings carry the database's time."""
