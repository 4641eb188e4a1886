"""The pace of requests that all processes share that use one key and one database."""

from __future__ import annotations

import threading
import time
from functools import partial

from framework.data.rate_limit import Pace, wait_until
from framework.db.pool import Pool
from framework.db.queries import execute, fetch_one
from framework.db.retry import retry
from framework.errors import DatabaseError, DatabaseUnavailable

#: A hold, or a queue of so many programs, reaches no further: a row that does is of before the clock was set back.
_AHEAD_SECONDS, _PROGRAMS = 120.0, 60


class SharedRateLimit:
    """A limit that all processes share that use one key and one database.

    Places are reserved in its row, a second's worth by one statement; what is not used within moments is lost.

    Args:
        pool: of the database; a connection is held for the moment of a statement.
        key_hash: names the row; must not tell the key.
        per_minute: requests of all processes together, at least 1. Where they differ, each keeps to its own.
    """

    def __init__(self, pool: Pool, key_hash: str, per_minute: int) -> None:
        self._pool, self._key_hash, self._pace = pool, key_hash, Pace(per_minute)
        self._lock = threading.Lock()
        self._next, self._left = 0.0, 0
        #: The last failure to reserve, and when.
        self._failure: tuple[DatabaseError, float] | None = None

    def take(self) -> None:
        """See :meth:`~framework.data.rate_limit.Limit.take`.

        Raises:
            DatabaseUnavailable: no place could be reserved.
        """
        asked_at = time.monotonic()
        with self._lock:
            if self._failure is not None and asked_at < self._failure[1]:
                # Tried in vain while this thread waited: it need not try for as long again.
                raise DatabaseUnavailable(str(self._failure[0])) from self._failure[0]
            if not self._left or time.monotonic() - self._next > self._pace.burst_seconds:
                self._reserve(self._pace.burst)
            place = self._next
            self._next += self._pace.pause_seconds
            self._left -= 1
            # Under the lock: nobody here reserves more before these places have come.
            wait_until(place)

    def hold_back(self, seconds: float) -> None:
        """See :meth:`~framework.data.rate_limit.Limit.hold_back`."""
        with self._lock:
            self._left = 0
            retry(partial(self._execute_hold, seconds))

    def charge(self, requests: int) -> None:
        """Count requests that were made before."""
        with self._lock:
            while requests > 0:
                self._reserve(min(requests, self._pace.burst))
                requests -= self._left
            self._left = 0

    def _reserve(self, count: int) -> None:
        # Time passes until the answer is here: the places are a little later than they could be, never earlier.
        try:
            seconds = retry(partial(self._execute_take, count))
        except DatabaseError as error:
            self._failure = error, time.monotonic()
            raise
        self._next, self._left = time.monotonic() + seconds, count

    def _execute_take(self, count: int) -> float:
        asked = {
            "key_hash": self._key_hash,
            "count": count,
            "pause_seconds": self._pace.pause_seconds,
            "burst_seconds": self._pace.burst_seconds,
            "ahead_seconds": max(_AHEAD_SECONDS, _PROGRAMS * self._pace.burst * self._pace.pause_seconds),
        }
        with self._pool.connection() as connection:
            row = fetch_one(connection, "take_requests", asked)
        assert row is not None, "the statement returns a row"
        return float(row[0])

    def _execute_hold(self, seconds: float) -> None:
        with self._pool.connection() as connection:
            execute(connection, "hold_requests", {"key_hash": self._key_hash, "seconds": seconds})
