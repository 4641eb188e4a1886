"""The live engine: a thread per portfolio, leases, heartbeat, notifications, commands (architecture 8).

Nothing here trades: a portfolio's thread runs the cycles of its :class:`framework.engine.worker.Worker` when they are
due, and does what operators ask for in between. Threads share the pool, the market feed and the clock, nothing else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from framework.books.journal import read_books_id
from framework.data.coming import Coming
from framework.data.feed import Feed
from framework.db.listen import Listener
from framework.db.pool import Pool
from framework.db.queries import fetch_one
from framework.db.types import Connection
from framework.engine import commands
from framework.engine.allocation_runner import AllocationRunner
from framework.engine.clock import Clock, RealClock
from framework.engine.decider import Assignment
from framework.engine.leases import Lease, Leases, new_holder, portfolio_lease
from framework.engine.runner import Events, Runner, Settings
from framework.engine.status import engine_stopped, register_engine, write_status
from framework.errors import DatabaseUnavailable, EngineError

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 30.0
#: How often an engine tells how it is.
_TELL_SECONDS = 2.0


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
        allocating: makes allocations while it runs; None: there is no allocator.
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
        allocating: AllocationRunner | None = None,
    ) -> None:
        self._settings, self._events = settings or Settings(), events or Events()
        self._name, self._version, self._pool, self._url, self._clock = name, version, pool, url, clock
        self.holder = new_holder()
        self._own = Pool(url, 1, 1)
        self._leases = Leases(self._own, self.holder, self._settings.lease_seconds, self._settings.send_timeout_seconds)
        books_id = read_books_id(pool)
        self._allocating = allocating
        rendezvous = None if allocating is None else allocating.rendezvous
        self._runners = {
            assignment.identity.portfolio_id: Runner(
                assignment, pool, feed, coming, clock, books_id, self._settings, self._events, rendezvous
            )
            for assignment in assignments
        }
        self._stop = threading.Event()
        self._waited_for: set[str] = set()
        self._has_asked = False

    def run(self, idle: Callable[[], None] = lambda: None) -> bool:
        """Run until stopped; ``idle`` is called on this thread several times a second. It never runs SQL itself.

        Returns:
            whether any portfolio was still running at the end; else all have stopped for their failures.

        Raises:
            whatever ``idle`` raises, KeyboardInterrupt among it: the engine stops then, as by :meth:`stop`.
        """
        service = [self._thread("heartbeat", self._beat), self._thread("notifications", self._listen)]
        allocating = self._allocating
        if allocating is not None:
            service.append(self._thread("allocation", lambda: allocating.run(self._arriving)))
        threads = [self._thread(f"portfolio-{name}", runner.run) for name, runner in self._runners.items()]
        for thread in (*service, *threads):
            thread.start()
        try:
            while (awaited := self._awaited(threads)) and self._is_needed():
                idle()
                awaited[0].join(0.05)
        finally:
            self.stop()
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while (awaited := self._awaited(threads)) and time.monotonic() < deadline:
                awaited[0].join(0.05)
            hanging = [thread.name for thread in threads if thread.is_alive()]
            if hanging:
                log.warning("left behind, as they have not returned since the engine was told to stop: %s", hanging)
            self._stop.set()
            for thread in service:
                thread.join(_PATIENCE_SECONDS)
            idle()
        return self._is_needed()

    def _awaited(self, threads: Sequence[threading.Thread]) -> list[threading.Thread]:
        """The portfolios' threads that live; once the engine is to stop, without those that hang."""
        is_over = self._clock.is_over
        both = zip(threads, self._runners.values(), strict=True)
        return [thread for thread, runner in both if thread.is_alive() and not (is_over and runner.hangs())]

    def _arriving(self) -> list[str]:
        """The portfolios that run here and will be settled in time."""
        # Where time stands still, and before it is known who else has them, those without a lease will have one.
        are_ours = self._clock.is_simulated or not self._has_asked
        return [
            name
            for name, runner in self._runners.items()
            if (are_ours or runner.lease is not None) and not (runner.has_given_up or runner.is_done or runner.hangs())
        ]

    def _is_needed(self) -> bool:
        return any(not runner.has_given_up for runner in self._runners.values())

    def stop(self) -> None:
        """Let every portfolio finish its running cycle, and end; safe from any thread and from a signal handler."""
        self._clock.stop()

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        # A daemon: a strategy that hangs must not keep the process alive.
        return threading.Thread(target=work, name=name, daemon=True)

    # Heartbeat: leases, status, the database's time.

    def _beat(self) -> None:
        is_registered, renew_at = False, 0.0
        while not self._stop.is_set():
            try:
                if not is_registered:
                    with self._own.connection() as connection:
                        register_engine(connection, self.holder, self._version, self._name)
                    is_registered = True
                if time.monotonic() >= renew_at:
                    self._renew()
                    renew_at = time.monotonic() + self._pause()
                self._tell()
            except Exception as error:  # without a heartbeat all leases would be lost
                log.warning("heartbeat: %s", error, exc_info=not isinstance(error, EngineError))
                self._stop.wait(1.0)
                continue
            self._stop.wait(min(_TELL_SECONDS, max(0.0, renew_at - time.monotonic())))
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
            self._say_who_holds([name for name in wanted if name not in taken])
        self._has_asked = True
        if isinstance(self._clock, RealClock):
            with self._own.connection() as connection:
                row = fetch_one(connection, "database_time")
            if row is not None:
                self._clock.adjust(row[0])

    def _say_who_holds(self, names: list[str]) -> None:
        """Tell, once for each engine, whose portfolios have to be waited for."""
        others: dict[str, dict[str, float]] = {}
        for name, (holder, seconds) in (self._leases.holders(names) if names else {}).items():
            if holder not in self._waited_for:
                others.setdefault(holder, {})[name.removeprefix("portfolio:")] = seconds
        for holder, portfolios in others.items():
            self._waited_for.add(holder)
            self._events.waiting(tuple(portfolios), holder, max(portfolios.values()))

    def _tell(self) -> None:
        """Tell how all is, and see what operators ask."""
        with self._own.connection() as connection:
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
        listener = self._listener()
        if listener is None:
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
                if self._allocating is not None:
                    self._allocating.wake()
        finally:
            listener.close()

    def _listener(self) -> Listener | None:
        """Connected, however long that takes; ``None``: the engine stops. Until then bars and commands are polled."""
        while not self._stop.is_set():
            try:
                return Listener(self._url, ("engine_bars", "engine_commands"))
            except DatabaseUnavailable as error:
                log.warning("no notifications yet, bars and commands are looked for now and then: %s", error)
                self._stop.wait(5.0)
        return None

    def _take_safely(self) -> None:
        try:
            with self._own.connection() as connection:
                self._take(connection)
        except EngineError as error:
            log.warning("commands could not be read, the next heartbeat reads them: %s", error)

    def _take(self, connection: Connection) -> None:
        for command in commands.take(connection, self._leases, list(self._runners)):
            runner = self._runners[command.portfolio_id]
            hangs = runner.hangs()
            if hangs is None:
                runner.order(command)
                continue
            # A halt is in force with its row; its thread takes the orders back when it comes back, or the next engine.
            text = f"{hangs}. Open orders stay as they are until it returns, or the engine is started again"
            commands.answer(connection, command, text, failed=True)
            self._events.commanded(command, text)
