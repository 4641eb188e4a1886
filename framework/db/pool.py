"""The connection pool: psycopg2's ThreadedConnectionPool, with waiting, fairness and repair on top.

psycopg2's own pool raises at once when it is empty and closes every connection beyond ``minconn`` that comes back.
This one waits in order of arrival, keeps idle connections up to ``max``, replaces those that the server has closed,
and counts what it does. Connections are autocommit; a transaction is an explicit BEGIN (:func:`transaction`), and
nothing is ever set on a session, so that a connection is the same whoever had it before.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_UNKNOWN
from psycopg2.pool import ThreadedConnectionPool

from framework.db.address import describe, without_secrets
from framework.db.failures import translated
from framework.db.transaction import rollback, transaction
from framework.db.types import Connection
from framework.errors import DatabaseError, DatabaseUnavailable, PoolClosed, PoolTimeout

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class PoolStats:
    """What a pool did since it was opened, and how it stands.

    Attributes:
        opened: connections opened, the first ones included.
        broken: connections thrown away because the server had closed them.
        rolled_back: connections that came back inside a transaction.
        connect_errors: attempts to open a connection that failed.
        waits: requests that had to wait.
        wait_seconds: how long they waited in all.
        timeouts: requests that waited in vain.
        in_use: connections handed out now.
        idle: connections open and free now.
        waiting: requests that wait now.
    """

    opened: int = 0
    broken: int = 0
    rolled_back: int = 0
    connect_errors: int = 0
    waits: int = 0
    wait_seconds: float = 0.0
    timeouts: int = 0
    in_use: int = 0
    idle: int = 0
    waiting: int = 0


@dataclass(frozen=True)
class _Holder:
    thread: str
    since: float


@dataclass(eq=False)
class _Waiter:
    """One request in the queue; ``granted`` and ``closed`` change under the pool's lock only.

    ``asleep`` is held from the start, and released to wake the thread: a lock costs a tenth of an event.
    """

    asleep: threading.Lock = field(default_factory=threading.Lock)
    granted: bool = False
    closed: bool = False

    def __post_init__(self) -> None:
        self.asleep.acquire()


class _Connections(ThreadedConnectionPool):
    """psycopg2's pool, told to keep what comes back; remembers since when each connection has been idle."""

    _lock: threading.Lock
    _pool: list[Connection]

    def __init__(self, keep: int, size: int, url: str) -> None:
        self.idle_since: dict[int, float] = {}
        self.opened = 0
        super().__init__(keep, size, url)
        # putconn() closes what comes back beyond minconn; the pool above decides that by idle time instead.
        self.minconn = size

    def _connect(self, key: object = None) -> Connection:
        connection: Connection = super()._connect(key)  # type: ignore[misc]
        connection.autocommit = True
        self.opened += 1
        return connection

    def idle_count(self) -> int:
        """Open connections that nobody holds."""
        with self._lock:
            return len(self._pool)

    def close_idle(self, keep: int, older_than: float) -> None:
        """Close free connections that came back before ``older_than`` (monotonic), but leave ``keep`` open."""
        with self._lock:
            # Taken from the end, returned to the end: the first ones are the longest unused.
            while len(self._pool) > keep and self.idle_since.get(id(self._pool[0]), 0.0) <= older_than:
                connection = self._pool.pop(0)
                self.idle_since.pop(id(connection), None)
                connection.close()


class Pool:
    """A bounded pool of connections to one database; safe for any number of threads.

    Args:
        url: ``postgresql://…``.
        min: connections opened at once and never closed for idleness.
        max: connections open at most.
        timeout_seconds: how long a request waits for a free connection.
        idle_seconds: after how long unused a connection beyond ``min`` is closed (looked at on each use).

    Raises:
        DatabaseUnavailable: the first connection cannot be opened.
    """

    def __init__(
        self,
        url: str,
        min: int = 1,
        max: int = 6,
        timeout_seconds: float = 30.0,
        idle_seconds: float = 300.0,
    ) -> None:
        if not 1 <= min <= max:
            raise ValueError(f"pool sizes were min={min}, max={max}; allowed: 1 <= min <= max")
        self.name = describe(url)
        self.min, self.max = min, max
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._free = max
        self._waiters: deque[_Waiter] = deque()
        self._holders: dict[int, _Holder] = {}
        self._counted = PoolStats()
        self._closed = False
        try:
            self._connections = _Connections(min, max, connect_string(url))
        except psycopg2.OperationalError as error:
            raise self._unavailable(error) from None

    def get_connection(self) -> Connection:
        """A connection of the caller's own until :meth:`release_connection`; prefer :meth:`connection`.

        Raises:
            PoolTimeout: none came free in time; names the threads that hold them.
            PoolClosed: the pool is closed.
            DatabaseUnavailable: the server cannot be reached.
        """
        self._take_slot()
        try:
            connection = self._working_connection()
        except BaseException:
            self._give_slot()
            raise
        with self._lock:
            self._holders[id(connection)] = _Holder(threading.current_thread().name, time.monotonic())
        return connection

    def release_connection(self, connection: Connection) -> None:
        """Give a connection back. Inside a transaction it is rolled back, counted and logged with its holder.

        Raises:
            DatabaseError: it does not come from this pool, or was given back before.
        """
        with self._lock:
            holder = self._holders.pop(id(connection), None)
        if holder is None:
            raise DatabaseError(
                "release_connection() was given a connection that this pool has not handed out; "
                "release each connection once, to the pool it comes from"
            )
        try:
            keep = self._clean(connection, holder) and not self._closed
            if keep:
                self._connections.idle_since[id(connection)] = time.monotonic()
            self._connections.putconn(connection, close=not keep)
            self._connections.close_idle(self.min, time.monotonic() - self._idle_seconds)
        finally:
            self._give_slot()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection in autocommit for the body; psycopg2's exceptions leave it as ours."""
        connection = self.get_connection()
        try:
            with translated(f"database {self.name}"):
                yield connection
        finally:
            self.release_connection(connection)

    @contextmanager
    def transaction(self, read_only: bool = False, isolation: str | None = None) -> Iterator[Connection]:
        """A connection with a transaction open: committed when the body ends, rolled back when it raises.

        Args:
            read_only: refuse writes.
            isolation: ``read committed`` (the default), ``repeatable read`` or ``serializable``.
        """
        with self.connection() as connection, transaction(connection, read_only, isolation):
            yield connection

    def stats(self) -> PoolStats:
        """Counters and the present state."""
        with self._lock:
            return replace(
                self._counted,
                opened=self._connections.opened,
                in_use=len(self._holders),
                idle=self._connections.idle_count(),
                waiting=len(self._waiters),
            )

    def close(self) -> None:
        """Close free connections now and the others as they come back; who waits gets PoolClosed."""
        with self._lock:
            self._closed = True
            for waiter in self._waiters:
                waiter.closed = True
                waiter.asleep.release()
            self._waiters.clear()
        self._connections.close_idle(0, time.monotonic())

    def _take_slot(self) -> None:
        with self._lock:
            if self._closed:
                raise self._closed_error()
            if self._free and not self._waiters:
                self._free -= 1
                return
            waiter = _Waiter()
            self._waiters.append(waiter)
        self._wait(waiter)

    def _wait(self, waiter: _Waiter) -> None:
        started = time.monotonic()
        try:
            waiter.asleep.acquire(timeout=self._timeout_seconds)
        except BaseException:
            self._leave(waiter)
            raise
        seconds = time.monotonic() - started
        with self._lock:
            self._count(waits=1, wait_seconds=seconds)
            if waiter.closed:
                raise self._closed_error()
            if waiter.granted:
                return
            self._waiters.remove(waiter)
            self._count(timeouts=1)
            raise PoolTimeout(self._timeout_message(seconds))

    def _leave(self, waiter: _Waiter) -> None:
        """Leave the queue for good (Ctrl-C while waiting); a slot that was granted meanwhile goes on."""
        with self._lock:
            granted = waiter.granted
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        if granted:
            self._give_slot()

    def _give_slot(self) -> None:
        """Hand the slot to whoever waits longest, so that a newcomer can never overtake."""
        with self._lock:
            if self._waiters:
                waiter = self._waiters.popleft()
                waiter.granted = True
                waiter.asleep.release()
            else:
                self._free += 1

    def _working_connection(self) -> Connection:
        while True:
            try:
                connection: Connection = self._connections.getconn()
            except psycopg2.OperationalError as error:
                with self._lock:
                    self._count(connect_errors=1)
                raise self._unavailable(error) from None
            self._connections.idle_since.pop(id(connection), None)
            if _server_is_there(connection):
                return connection
            self._connections.putconn(connection, close=True)
            with self._lock:
                self._count(broken=1)

    def _clean(self, connection: Connection, holder: _Holder) -> bool:
        """Make a returned connection fit for the next; False if it is to be thrown away."""
        status = connection.info.transaction_status
        if connection.closed or status == TRANSACTION_STATUS_UNKNOWN:
            with self._lock:
                self._count(broken=1)
            return False
        if status == TRANSACTION_STATUS_IDLE and connection.autocommit:
            return True
        with self._lock:
            self._count(rolled_back=1)
        held = time.monotonic() - holder.since
        log.warning(
            "connection to %s came back inside a transaction, rolled back; thread %r held it for %.3f s",
            self.name,
            holder.thread,
            held,
        )
        # A connection that somebody has taken out of autocommit is not worth repairing.
        return rollback(connection) and bool(connection.autocommit)

    def _count(self, **more: float) -> None:
        """Add to counters; the caller holds the lock."""
        counted = self._counted
        self._counted = replace(counted, **{name: getattr(counted, name) + n for name, n in more.items()})

    def _unavailable(self, error: psycopg2.Error) -> DatabaseUnavailable:
        reason = without_secrets(str(error), self._url)
        return DatabaseUnavailable(
            f"cannot connect to the database {self.name}: {reason}; "
            "check that the server runs and that database.url is right"
        )

    def _closed_error(self) -> PoolClosed:
        return PoolClosed(f"the connection pool of {self.name} is closed; no connection can be asked of it")

    def _timeout_message(self, seconds: float) -> str:
        now = time.monotonic()
        holders = ", ".join(
            f"{holder.thread} ({now - holder.since:.1f} s)"
            for holder in sorted(self._holders.values(), key=lambda holder: holder.since)
        )
        return (
            f"no connection to {self.name} came free within {seconds:.1f} s; all {self.max} are held by: "
            f"{holders or 'threads that are connecting'}; raise database.pool.max, or hold connections shorter"
        )


def connect_string(url: str) -> str:
    """``url`` with this program's defaults for what it leaves out; sets nothing on the session."""
    from psycopg2.extensions import make_dsn, parse_dsn

    defaults = {
        "application_name": "portfolio-engine",
        "connect_timeout": str(CONNECT_TIMEOUT_SECONDS),
        "client_encoding": "UTF8",
        # A peer that vanished without a word is noticed within about a minute.
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "tcp_user_timeout": "60000",
    }
    parts: dict[str, str] = parse_dsn(url)
    return make_dsn(**(defaults | parts))


def _server_is_there(connection: Connection) -> bool:
    """Whether the server still holds its end, without a round trip: a closed socket is readable."""
    if connection.closed:
        return False
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    if not poller.poll(0):
        return True
    try:
        # Something has come: a notice or a changed setting is read away, an end of the session raises.
        connection.poll()
    except psycopg2.Error:
        return False
    return not connection.closed and not poller.poll(0)
