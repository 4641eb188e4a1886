"""Doing work again after the connection was lost, or after another transaction was preferred."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from framework.errors import DatabaseConflict, DatabaseUnavailable

log = logging.getLogger(__name__)

Result = TypeVar("Result")


def retry(
    work: Callable[[], Result],
    *,
    deadline_seconds: float = 30.0,
    first_wait_seconds: float = 0.05,
    longest_wait_seconds: float = 2.0,
    stop: threading.Event | None = None,
) -> Result:
    """Run ``work``; where it ends with a lost connection or in a deadlock, run all of it again until the deadline.

    ``work`` takes its own connection from the pool and must be safe to run twice: a read, or a booking with an
    idempotency key. Waits double from ``first_wait_seconds`` and are jittered, so that threads don't come back in step.

    Args:
        work: called without arguments, once or more.
        deadline_seconds: no attempt begins later than this after the first.
        first_wait_seconds: pause after the first failure, at most.
        longest_wait_seconds: no pause is longer.
        stop: set by another thread, it ends the waiting at once.

    Raises:
        DatabaseUnavailable, DatabaseConflict: of the last attempt; says how often and how long it was tried.
    """
    started = time.monotonic()
    pause = stop
    wait, attempts = first_wait_seconds, 0
    while True:
        attempts += 1
        try:
            return work()
        except (DatabaseUnavailable, DatabaseConflict) as error:
            # Jitter spreads the returning threads; it decides nothing that must be reproducible.
            seconds = random.uniform(wait / 2, wait)
            spent = time.monotonic() - started
            pause = pause or threading.Event()
            if pause.is_set() or spent + seconds > deadline_seconds:
                raise type(error)(f"{error} (tried {attempts} times in {spent:.1f} s)") from error
            log.warning("attempt %d failed, again in %.2f s: %s", attempts, seconds, error)
        pause.wait(seconds)
        wait = min(2 * wait, longest_wait_seconds)
