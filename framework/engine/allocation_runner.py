"""The thread of the live engine that allocates capital when it is due."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from framework.books.allocation import Allocated
from framework.data.moments import Due
from framework.engine.allocating import AllocationDesk, Rendezvous
from framework.engine.clock import Clock
from framework.engine.flows import DatedFlows
from framework.engine.runner import OUTAGES
from framework.errors import EngineError

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _SOON_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 1.0, 30.0


class AllocationRunner:
    """Makes each allocation when it is due, once all portfolios that run here are settled.

    Args:
        desk: makes them.
        rendezvous: where the portfolios wait.
        clock: of the engine.
        told: is told of each that was made now, and of each that was not, with the reason.
        flows: of the master account, in a replay.
    """

    def __init__(
        self,
        desk: AllocationDesk,
        rendezvous: Rendezvous,
        clock: Clock,
        told: Callable[[Due, Allocated | None, str], None],
        flows: DatedFlows | None = None,
    ) -> None:
        self._desk, self._rendezvous, self._clock, self._told = desk, rendezvous, clock, told
        self._sleeper, self._flows = clock.sleeper(), flows
        #: The moment of the last one that could not be made.
        self._failed: datetime | None = None

    @property
    def rendezvous(self) -> Rendezvous:
        """Where the portfolios wait."""
        return self._rendezvous

    def wake(self) -> None:
        """A price may have come."""
        self._sleeper.wake()

    def run(self, expected: Callable[[], Iterable[str]]) -> None:
        """Allocate until the clock is over.

        Args:
            expected: gives the portfolios that run here, and so will arrive.
        """
        done: datetime | None = None
        try:
            while not self._clock.is_over:
                due = self._rendezvous.dues.latest(self._clock.now())
                if due is not None and (done is None or due.at > done):
                    if not self._once(due, expected):
                        continue
                    done = due.at
                following = self._rendezvous.dues.following(self._clock.now())
                self._sleeper.wait(None if following is None else following.at)
        finally:
            self._sleeper.close()

    def _once(self, due: Due, expected: Callable[[], Iterable[str]]) -> bool:
        """Make one allocation; whether it is done with."""
        missing = self._rendezvous.wait_for(due, expected)
        if missing is None:
            return False
        note = f"without waiting any longer for {', '.join(missing)}" if missing else ""
        try:
            while self._flows is not None and self._flows.due(due.at) is not None:
                self._flows.book()
            booking_clock = self._clock.now() if self._clock.is_simulated else None
            made = self._desk.make(due, self._clock.now(), booking_clock)
        except OUTAGES as error:
            log.warning("allocation of %s: %s", due.session, error)
            self._pause()
            return False
        except Exception as error:  # noqa: BLE001  # an allocator's, too: portfolios go on without it
            return self._fails(due, error)
        if not made.already:
            self._told(due, made, note)
        self._rendezvous.done(due)
        return True

    def _fails(self, due: Due, error: Exception) -> bool:
        """It cannot be made now. In real time a price may still come: it is tried again until the next one is due."""
        text = str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"
        if self._failed != due.at:
            self._failed = due.at
            log.warning("allocation of %s: %s", due.session, text, exc_info=not isinstance(error, EngineError))
            self._told(due, None, text)
        if self._clock.is_simulated:
            self._rendezvous.done(due)
            return True
        # Whoever waits for it goes on by itself when the time is up.
        pause = _SOON_SECONDS if self._rendezvous.is_awaited(due) else _LONGEST_PAUSE_SECONDS
        self._sleeper.wait(self._clock.now() + timedelta(seconds=pause))
        return False

    def _pause(self) -> None:
        """Real time, also under a simulated clock, which stands still meanwhile."""
        deadline = time.monotonic() + random.uniform(_FIRST_PAUSE_SECONDS / 2, _FIRST_PAUSE_SECONDS)
        while time.monotonic() < deadline and not self._clock.is_over:
            time.sleep(0.05)
