"""A limit on requests that all threads of a process share."""

from __future__ import annotations

import threading
import time


class RateLimit:
    """Lets requests through at an even pace: never more than ``per_minute`` in any 60 seconds.

    Args:
        per_minute: requests, at least 1.

    A short burst after a rest is let through at once, and the pace is slower by as much.
    """

    def __init__(self, per_minute: int) -> None:
        burst = max(1, per_minute // 60)
        self._pause_seconds = 60.0 / max(1, per_minute - burst + 1)
        self._burst_seconds = (burst - 1) * self._pause_seconds
        self._lock = threading.Lock()
        self._next = time.monotonic()

    def take(self) -> None:
        """Wait for the next free place."""
        with self._lock:
            place = max(self._next, time.monotonic() - self._burst_seconds)
            self._next = place + self._pause_seconds
        seconds = place - time.monotonic()
        if seconds > 0.0:
            threading.Event().wait(seconds)

    def hold_back(self, seconds: float) -> None:
        """Let nobody through for so long: the other side has asked for it."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)
