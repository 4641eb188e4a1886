"""The engine's clocks: the only place that asks what time it is, or waits for it.

A thread that lives by a clock has a :class:`Sleeper`: it waits for a moment, and others may wake it earlier.
"""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from math import inf
from typing import Protocol

_DAY = timedelta(days=1)


class Sleeper(Protocol):
    """One thread's way to wait."""

    def wait(self, until: datetime | None) -> None:
        """Wait for a moment of the clock (``None``: for ever), for :meth:`wake`, or for the clock to stop."""

    def wake(self) -> None:
        """End the thread's wait; if it is not waiting, its next wait ends at once."""

    def close(self) -> None:
        """The thread lives by this clock no more."""


class Clock(Protocol):
    """The moment that the engine acts at."""

    #: Whether its moments are those of history, so that bookings carry them instead of the database's time.
    is_simulated: bool

    def now(self) -> datetime:
        """Aware, UTC."""

    def sleeper(self) -> Sleeper:
        """For one thread; every thread that acts by the clock has one from before it starts."""

    def stop(self) -> None:
        """End all waits, those to come as well."""

    @property
    def is_over(self) -> bool:
        """Whether it was stopped, or has reached its end."""


class RealClock:
    """The database's time, as far as it was told it: it goes on by itself from the last :meth:`adjust`."""

    is_simulated = False

    def __init__(self, database_now: datetime) -> None:
        self._lock = threading.Lock()
        self._sleepers: set[_RealSleeper] = set()
        self._is_over = False
        self.adjust(database_now)

    def adjust(self, database_now: datetime) -> None:
        """This is the time at the database; it may lie before what was told last."""
        with self._lock:
            self._base, self._since = database_now, time.monotonic()

    def now(self) -> datetime:
        """The database's time, within what its clock has moved since the last :meth:`adjust`."""
        with self._lock:
            return self._base + timedelta(seconds=time.monotonic() - self._since)

    def sleeper(self) -> Sleeper:
        """For one thread."""
        made = _RealSleeper(self)
        with self._lock:
            self._sleepers.add(made)
        return made

    def stop(self) -> None:
        """End all waits."""
        self._is_over = True
        with self._lock:
            sleepers = tuple(self._sleepers)
        for sleeper in sleepers:
            sleeper.wake()

    @property
    def is_over(self) -> bool:
        """Whether it was stopped."""
        return self._is_over

    def forget(self, sleeper: _RealSleeper) -> None:
        """A sleeper is closed."""
        with self._lock:
            self._sleepers.discard(sleeper)


class _RealSleeper:
    """Waits in slices, since the clock may be adjusted meanwhile."""

    _SLICE_SECONDS = 10.0

    def __init__(self, clock: RealClock) -> None:
        self._clock, self._event = clock, threading.Event()

    def wait(self, until: datetime | None) -> None:
        while not self._clock.is_over:
            left = self._SLICE_SECONDS if until is None else (until - self._clock.now()).total_seconds()
            if left <= 0 or self._event.wait(min(left, self._SLICE_SECONDS)):
                break
        self._event.clear()

    def wake(self) -> None:
        self._event.set()

    def close(self) -> None:
        self._clock.forget(self)


class SimulatedClock:
    """Time that stands still while anybody works, and goes to the next moment that is waited for when all wait.

    So nobody misses a moment, however slow the machine is, and a run comes out the same every time.

    Args:
        start: its first moment.
        end: its last; when all wait for later moments, the clock is over.
        seconds_per_day: how long a day takes; 0: no time at all.
    """

    is_simulated = True

    def __init__(self, start: datetime, end: datetime, seconds_per_day: float = 0.0) -> None:
        self._now, self._end = start, end
        self._days_per_second = 1 / seconds_per_day if seconds_per_day > 0 else inf
        #: While time passes: since when (monotonic), and from which moment on.
        self._moving: tuple[float, datetime] | None = None
        self._changed = threading.Condition()
        self._sleepers: set[_SimulatedSleeper] = set()
        self._is_over = False

    def now(self) -> datetime:
        """The moment that all live at."""
        return self._now

    def sleeper(self) -> Sleeper:
        """For one thread; time stands still until it waits."""
        made = _SimulatedSleeper(self)
        with self._changed:
            self._sleepers.add(made)
        return made

    def stop(self) -> None:
        """End all waits."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    @property
    def is_over(self) -> bool:
        """Whether it was stopped, or has reached its end."""
        return self._is_over

    # For its sleepers.

    def wait(self, sleeper: _SimulatedSleeper, until: datetime | None) -> None:
        """See :class:`Sleeper`."""
        with self._changed:
            sleeper.until, sleeper.is_waiting = until, True
            while not (self._is_over or sleeper.is_woken or (until is not None and until <= self._now)):
                self._advance()
            sleeper.is_waiting = sleeper.is_woken = False

    def wake(self, sleeper: _SimulatedSleeper) -> None:
        """See :class:`Sleeper`."""
        with self._changed:
            sleeper.is_woken, self._moving = True, None
            self._changed.notify_all()

    def close(self, sleeper: _SimulatedSleeper) -> None:
        """See :class:`Sleeper`."""
        with self._changed:
            self._sleepers.discard(sleeper)
            self._changed.notify_all()

    def _advance(self) -> None:
        """One step towards the next moment, under the lock: wait for others, let real time pass, or move on."""
        moments = [sleeper.until for sleeper in self._sleepers if sleeper.until is not None]
        # Who waits for no moment waits for somebody outside, a lease say: time stands still until he has it.
        is_ready = len(moments) == len(self._sleepers) and bool(moments)
        if not is_ready or not all(map(self._is_asleep, self._sleepers)):
            self._moving = None
            self._changed.wait()
            return
        coming = min(moments)
        if coming > self._end:
            self._is_over = True
        elif self._pass_time(coming):
            self._now, self._moving = coming, None
        else:
            return
        self._changed.notify_all()

    def _is_asleep(self, sleeper: _SimulatedSleeper) -> bool:
        """Whether it waits for what is still to come; one whose moment has come works, or is about to."""
        has_come = sleeper.until is not None and sleeper.until <= self._now
        return sleeper.is_waiting and not sleeper.is_woken and not has_come

    def _pass_time(self, coming: datetime) -> bool:
        """Let real time pass; whether the moment has come."""
        if self._days_per_second == inf:
            return True
        if self._moving is None:
            self._moving = time.monotonic(), self._now
        since, start = self._moving
        days_left = (coming - start) / _DAY - (time.monotonic() - since) * self._days_per_second
        if days_left <= 0:
            return True
        self._now = coming - days_left * _DAY
        self._changed.wait(days_left / self._days_per_second)
        return False


class _SimulatedSleeper:
    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock
        self.until: datetime | None = None
        self.is_waiting = self.is_woken = False

    def wait(self, until: datetime | None) -> None:
        self._clock.wait(self, until)

    def wake(self) -> None:
        self._clock.wake(self)

    def close(self) -> None:
        self._clock.close(self)
