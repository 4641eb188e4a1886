"""The realtime ingestor as a service: a thread for each thing that is watched, until it is stopped."""

from __future__ import annotations

import queue
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from framework.data.ingest import Poll
from framework.engine.clock import Clock, Sleeper
from framework.errors import (
    DatabaseBusy,
    DatabaseConflict,
    DatabaseUnavailable,
    EngineError,
    PoolTimeout,
    SourceUnavailable,
)

#: After a failure for the moment, the next look comes so long after it, then twice as long.
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=5), timedelta(seconds=60)
_PATIENCE_SECONDS = 20.0


class Ingestor(Protocol):
    """Looks at a source at the right moments."""

    def describe(self) -> str:
        """What it watches, in words."""

    def next_due(self, after: datetime) -> datetime:
        """The first moment later than ``after`` at which there may be something new."""

    def poll(self, now: datetime) -> Poll:
        """Bring what there is."""


class StoppedError(EngineError):
    """It was told to stop while it brought much; what was committed stays."""


@dataclass
class Totals:
    """What an ingestor has done since it was started.

    Attributes:
        counts: ``polls``, ``failures``, ``inserted``, ``corrected``.
        unavailable: tickers that are not to be had, and why.
    """

    counts: Counter[str] = field(default_factory=Counter)
    unavailable: dict[str, str] = field(default_factory=dict)


class IngestRun:
    """Runs ingestors.

    Args:
        ingestors: what runs, a thread each.
        clock: by which they live.
        announce: shows a line; called by the thread that calls :meth:`run`.
        set_clock: is called before each look; to set a clock that may have stood still.
        once: look once, and end.
    """

    def __init__(
        self,
        ingestors: Sequence[Ingestor],
        clock: Clock,
        announce: Callable[[str], None],
        set_clock: Callable[[], None] = lambda: None,
        *,
        once: bool = False,
    ) -> None:
        self._ingestors, self._clock, self._announce = ingestors, clock, announce
        self._set_clock, self._once = set_clock, once
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._failure: EngineError | None = None
        self.totals = Totals()

    def run(self) -> Totals:
        """Run until stopped, or until the clock is over.

        Raises:
            EngineError: of an ingestor that trying again would not mend; the others are ended.
        """
        # Each has its sleeper before any runs, so that a simulated clock waits for all.
        sleepers = [self._clock.sleeper() for _ in self._ingestors]
        threads = [
            threading.Thread(target=self._work, args=pair, name=f"ingest-{number}", daemon=True)
            for number, pair in enumerate(zip(self._ingestors, sleepers, strict=True))
        ]
        for thread in threads:
            thread.start()
        running = len(threads)
        while running:
            line = self._lines.get()
            if line is None:
                running -= 1
            else:
                self._announce(line)
        for thread in threads:
            thread.join(_PATIENCE_SECONDS)
        if self._failure is not None:
            raise self._failure
        return self.totals

    def stop(self) -> None:
        """Let each finish what it is at, and end; safe from a signal handler."""
        self._clock.stop()

    def _work(self, ingestor: Ingestor, sleeper: Sleeper) -> None:
        try:
            self._loop(ingestor, sleeper)
        except StoppedError:
            pass
        except EngineError as error:
            self._failure = error
            self._clock.stop()
        except Exception as error:  # noqa: BLE001  # a source is a plugin
            self._failure = EngineError(
                f"the ingestor of {ingestor.describe()} failed: {type(error).__name__}: {error}"
            )
            self._failure.__cause__ = error
            self._clock.stop()
        finally:
            sleeper.close()
            self._lines.put(None)

    def _loop(self, ingestor: Ingestor, sleeper: Sleeper) -> None:
        pause = _FIRST_PAUSE
        self._tell(f"watches {ingestor.describe()}")
        while not self._clock.is_over:
            try:
                self._set_clock()
                self._count(ingestor.poll(self._clock.now()))
            except (SourceUnavailable, DatabaseUnavailable, DatabaseConflict, DatabaseBusy, PoolTimeout) as error:
                if self._once:
                    raise
                # Jitter spreads ingestors that failed together.
                due = self._clock.now() + pause * random.uniform(0.5, 1.0)
                self._fail(error, due)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                pause = _FIRST_PAUSE
                due = ingestor.next_due(self._clock.now())
            if self._once:
                return
            sleeper.wait(due)

    def _count(self, poll: Poll) -> None:
        with self._lock:
            self.totals.counts.update(polls=1, inserted=poll.inserted, corrected=poll.corrected)
            fresh = {ticker: why for ticker, why in poll.unavailable.items() if ticker not in self.totals.unavailable}
            self.totals.unavailable.update(fresh)
        if poll.inserted or poll.corrected:
            corrected = f", {poll.corrected} corrected" if poll.corrected else ""
            self._tell(f"{poll.inserted:,} new bars{corrected}")
        for note in poll.notes:
            self._tell(f"Note: {note}")
        if poll.late:
            more = f" and {len(poll.late) - 5} more" if len(poll.late) > 5 else ""
            self._tell(f"the last session of {', '.join(poll.late[:5])}{more} is not there yet; asking again later")
        for why in fresh.values():
            self._tell(f"not to be had: {why}")

    def _fail(self, error: EngineError, due: datetime) -> None:
        with self._lock:
            self.totals.counts["failures"] += 1
        self._tell(f"failed, again at {due.astimezone(UTC):%H:%M:%S}: {error}")

    def _tell(self, text: str) -> None:
        self._lines.put(f"{self._clock.now():%Y-%m-%d %H:%M:%S}  {text}")
