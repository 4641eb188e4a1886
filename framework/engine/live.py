"""The live engine: a thread per portfolio, leases, heartbeat, notifications, commands (architecture 8).

Nothing here trades: a portfolio's thread runs the cycles of its :class:`framework.engine.worker.Worker` when they are
due, and does what operators ask for in between. Threads share the pool, the market feed and the clock, nothing else.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from framework.books.journal import read_books_id
from framework.data.coming import Coming
from framework.data.feed import Feed
from framework.db.listen import Listener
from framework.db.pool import Pool
from framework.db.queries import fetch_one
from framework.db.types import Connection
from framework.engine import commands
from framework.engine.clock import Clock, RealClock
from framework.engine.commands import Command
from framework.engine.leases import Lease, Leases, new_holder, portfolio_lease, require_lease
from framework.engine.status import PortfolioStatus, State, engine_stopped, register_engine, write_status
from framework.engine.worker import Assignment, StrategyData, Watcher, Worker
from framework.errors import BrokerUnavailable, DatabaseUnavailable, EngineError, LeaseLost, PoolTimeout

log = logging.getLogger(__name__)

#: Failures that say nothing about the portfolio: the engine waits until it can be reached again, however long.
OUTAGES = (DatabaseUnavailable, PoolTimeout, BrokerUnavailable)
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
#: How often a late bar is looked for, where no notification comes.
_POLL = timedelta(seconds=30)
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Settings:
    """How an engine behaves.

    Attributes:
        lease_seconds: until a lease that is not renewed expires.
        send_timeout_seconds: longest time that a request to a broker can be under way.
        max_consecutive_failures: of one portfolio's cycles; then it stops.
    """

    lease_seconds: float = 30.0
    send_timeout_seconds: float = 10.0
    max_consecutive_failures: int = 5


@dataclass(frozen=True)
class Events:
    """Who is told what an engine does; called from its threads, so it must return at once.

    ``failed``: portfolio id, the error, whether the portfolio has stopped.
    """

    watcher: Watcher = field(default_factory=Watcher)
    cycled: Callable[[str, StrategyData], None] = lambda portfolio_id, data: None
    failed: Callable[[str, BaseException, bool], None] = lambda portfolio_id, error, stopped: None
    commanded: Callable[[Command, str], None] = lambda command, answer: None


class LiveEngine:
    """Runs portfolios until it is stopped, or its simulated clock is over.

    Args:
        name: of the run config, for ``engine status``.
        version: of this package, likewise.
        assignments: the portfolios, which are open in the books.
        pool: of the books.
        url: of the same database, for connections of the engine's own.
        feed: of the market, for all tickers.
        coming: the calendar.
        clock: of the engine.
        settings: see there.
        events: see there.
    """

    def __init__(
        self,
        name: str,
        version: str,
        assignments: Sequence[Assignment],
        pool: Pool,
        url: str,
        feed: Feed,
        coming: Coming,
        clock: Clock,
        settings: Settings | None = None,
        events: Events | None = None,
    ) -> None:
        self._settings, self._events = settings or Settings(), events or Events()
        self._name, self._version, self._pool, self._url, self._clock = name, version, pool, url, clock
        self.holder = new_holder()
        self._own = Pool(url, 1, 1)
        self._leases = Leases(self._own, self.holder, self._settings.lease_seconds, self._settings.send_timeout_seconds)
        books_id = read_books_id(pool)
        self._runners = {
            assignment.identity.portfolio_id: _Runner(
                assignment, pool, feed, coming, clock, books_id, self._settings, self._events
            )
            for assignment in assignments
        }
        self._stop = threading.Event()

    def run(self, idle: Callable[[], None] = lambda: None) -> bool:
        """Run until stopped; ``idle`` is called on this thread several times a second. It never runs SQL itself.

        Returns:
            whether any portfolio was still running at the end; else all have stopped for their failures.

        Raises:
            whatever ``idle`` raises, KeyboardInterrupt among it: the engine stops then, as by :meth:`stop`.
        """
        service = [self._thread("heartbeat", self._beat), self._thread("notifications", self._listen)]
        threads = [self._thread(f"portfolio-{name}", runner.run) for name, runner in self._runners.items()]
        for thread in (*service, *threads):
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                idle()
                threads[0].join(0.05) if threads[0].is_alive() else time.sleep(0.05)
        finally:
            self.stop()
            deadline = time.monotonic() + _PATIENCE_SECONDS
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))
            hanging = [thread.name for thread in threads if thread.is_alive()]
            if hanging:
                log.warning("left behind %.0f s after being told to stop: %s", _PATIENCE_SECONDS, ", ".join(hanging))
            self._stop.set()
            for thread in service:
                thread.join(_PATIENCE_SECONDS)
            idle()
        return any(not runner.has_given_up for runner in self._runners.values())

    def stop(self) -> None:
        """Let every portfolio finish its running cycle, and end; safe from any thread and from a signal handler."""
        self._clock.stop()

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        # A daemon: a strategy that hangs must not keep the process alive.
        return threading.Thread(target=work, name=name, daemon=True)

    # Heartbeat: leases, status, the database's time.

    def _beat(self) -> None:
        is_registered = False
        while not self._stop.is_set():
            try:
                if not is_registered:
                    with self._own.connection() as connection:
                        register_engine(connection, self.holder, self._version, self._name)
                    is_registered = True
                self._renew()
            except EngineError as error:
                log.warning("heartbeat: %s", error)
                self._stop.wait(1.0)
                continue
            self._stop.wait(self._pause())
        self._leave()

    def _pause(self) -> float:
        """A third of the lease; less while leases are missing."""
        third = self._settings.lease_seconds / 3
        missing = any(runner.lease is None and not runner.has_given_up for runner in self._runners.values())
        return min(1.0, third) if missing else third

    def _renew(self) -> None:
        """Renew what is held, take what is free, tell how all is."""
        for lost in self._leases.renew():
            self._lose(lost)
        wanted = [
            portfolio_lease(name)
            for name, runner in self._runners.items()
            if runner.lease is None and not runner.has_given_up
        ]
        if wanted and not self._clock.is_over:
            taken = self._leases.acquire(wanted)
            for runner in self._runners.values():
                lease = taken.get(runner.lease_name)
                if lease is not None:
                    runner.hold(lease)
        given_up = [runner.lease_name for runner in self._runners.values() if runner.has_given_up and runner.lease]
        self._leases.release(given_up)
        with self._own.connection() as connection:
            row = fetch_one(connection, "database_time")
            if row is not None and isinstance(self._clock, RealClock):
                self._clock.adjust(row[0])
            mine = [runner.status() for runner in self._runners.values() if runner.lease is not None]
            write_status(connection, self.holder, mine)
            self._take(connection)

    def _lose(self, lease: Lease) -> None:
        for runner in self._runners.values():
            if runner.lease_name == lease.name:
                runner.lose()

    def _leave(self) -> None:
        """The last words: leases of portfolios that have nothing under way are free at once, the others expire."""
        try:
            done = [runner.lease_name for runner in self._runners.values() if runner.is_done]
            with self._own.connection() as connection:
                write_status(connection, self.holder, [r.status() for r in self._runners.values() if r.lease])
            self._leases.release(done)
            with self._own.connection() as connection:
                engine_stopped(connection, self.holder)
        except EngineError as error:
            log.warning("the leases of this engine will expire by themselves: %s", error)
        finally:
            self._own.close()

    # Notifications and commands.

    def _listen(self) -> None:
        try:
            listener = Listener(self._url, ("engine_bars", "engine_commands"))
        except DatabaseUnavailable as error:
            log.warning("no notifications, bars and commands are looked for now and then: %s", error)
            return
        try:
            while not self._stop.is_set():
                found = listener.wait(0.5)
                if not found:
                    continue
                if any(notification.channel != "engine_bars" for notification in found):
                    self._take_safely()
                for runner in self._runners.values():
                    runner.wake()
        finally:
            listener.close()

    def _take_safely(self) -> None:
        try:
            with self._own.connection() as connection:
                self._take(connection)
        except EngineError as error:
            log.warning("commands could not be read, the next heartbeat reads them: %s", error)

    def _take(self, connection: Connection) -> None:
        for command in commands.take(connection, self._leases, list(self._runners)):
            self._runners[command.portfolio_id].order(command)


class _Runner:
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
    ) -> None:
        self._name = assignment.identity.portfolio_id
        self.lease_name = portfolio_lease(self._name)
        self.lease: Lease | None = None
        self._clock, self._coming, self._settings, self._events = clock, coming, settings, events
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
        return self._status

    # The thread.

    def run(self) -> None:
        """Cycles and commands, until the clock is over or the portfolio has failed too often."""
        try:
            while not self._clock.is_over and not self.has_given_up:
                if self.lease is None:
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
        except Exception as error:  # noqa: BLE001  # plugin code runs in here: it stops this portfolio at most
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
        due = self._coming.next_bar(data.now)
        return due if self._clock.is_simulated else min(due, self._clock.now() + _POLL)

    def _failed(self, error: Exception) -> datetime:
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
        """Real time, also under a simulated clock, which stands still meanwhile."""
        longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(failures, 10))
        deadline = time.monotonic() + random.uniform(longest / 2, longest)
        while time.monotonic() < deadline and not self._clock.is_over:
            time.sleep(0.05)

    def _obey(self) -> None:
        """Do what operators have asked for, and answer."""
        while not self._commands.empty():
            command = self._commands.get()
            try:
                text, failed = self._execute(command), False
            except EngineError as error:
                text, failed = str(error), True
            with self._pool.connection() as connection:
                commands.answer(connection, command, text, failed=failed)
            self._events.commanded(command, text)

    def _execute(self, command: Command) -> str:
        if command.kind == "liquidate":
            return self._worker.liquidate()
        if command.kind == "halt" and not command.arguments.get("keep_orders"):
            left = self._worker.cancel_open_orders("halted")
            return f"halted; {len(left)} orders are not final yet" if left else "halted; no order is open"
        return "halted; open orders are kept" if command.kind == "halt" else "resumed"

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
