"""The pace of requests of all threads of a process; see ``shared_limit`` for that of several processes."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Limit(Protocol):
    """Lets requests through; safe for any number of threads."""

    def take(self) -> None:
        """Wait for the next free place."""

    def hold_back(self, seconds: float) -> None:
        """Let nobody through for so long: the other side has asked for it."""


class Pace:
    """Evenly spaced places such that never more than ``per_minute`` lie in any 60 seconds.

    Args:
        per_minute: requests, at least 1.

    Attributes:
        burst: places that may be taken at once after a rest; the others are slower by as much.
        pause_seconds: between two places.
        burst_seconds: how long a place that nobody took stays good.
    """

    def __init__(self, per_minute: int) -> None:
        self.burst = max(1, per_minute // 60)
        self.pause_seconds = 60.0 / max(1, per_minute - self.burst + 1)
        self.burst_seconds = (self.burst - 1) * self.pause_seconds


class RateLimit:
    """A limit that the threads of this process share.

    Args:
        per_minute: requests, at least 1.
    """

    def __init__(self, per_minute: int) -> None:
        self._pace = Pace(per_minute)
        self._lock = threading.Lock()
        self._next = time.monotonic()

    def take(self) -> None:
        """See :meth:`Limit.take`."""
        with self._lock:
            place = max(self._next, time.monotonic() - self._pace.burst_seconds)
            self._next = place + self._pace.pause_seconds
        wait_until(place)

    def hold_back(self, seconds: float) -> None:
        """See :meth:`Limit.hold_back`."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


def wait_until(moment: float) -> None:
    """Wait for a moment of the monotonic clock."""
    seconds = moment - time.monotonic()
    if seconds > 0.0:
        threading.Event().wait(seconds)
