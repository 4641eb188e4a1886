"""The realtime ingestor of bars: brings what has become final, catches up after an outage, and corrects what changed.

Nothing is kept in memory that matters: what has to be asked for follows from the coverage in the database and from the
calendar, so that an ingestor that was killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import numpy as np

from framework.data.backfill import backfill, last_final_session
from framework.data.calendars import STEPS, covering
from framework.data.coming import Coming
from framework.data.load import BEFORE_OPEN, OVERLAP, actions_due_at, follow, is_of_ticker
from framework.data.source import DataSource
from framework.db.market import coverage_of
from framework.db.pool import Pool
from framework.errors import DataError
from framework.model.timeline import moment, stamp

#: A session that the source does not have yet is asked for again, at first after so long, then more and more seldom.
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=5), timedelta(hours=1)
_AHEAD = timedelta(days=20)


@dataclass(frozen=True)
class Watch:
    """What is to be kept up to date.

    Attributes:
        tickers: whose bars.
        interval: of the bars.
        calendar: whose sessions they are of.
        since: exchange date from which on what lacks is brought; by default, only from the last session on.
    """

    tickers: tuple[str, ...]
    interval: str
    calendar: str
    since: date = date.max


@dataclass(frozen=True)
class Poll:
    """What one look at the source brought.

    Attributes:
        inserted: bars that are new in the database.
        corrected: bars that had changed since they were read.
        late: tickers whose last session the source does not have yet.
        unavailable: tickers that are not to be had, and why.
        notes: what else is to be said, in words.
    """

    inserted: int = 0
    corrected: int = 0
    late: tuple[str, ...] = ()
    unavailable: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class BarIngestor:
    """Keeps the bars of some tickers up to date; for one thread.

    Args:
        pool: of the database.
        source: is asked.
        watch: what for.
        checkpoint: is called now and then while much is brought; what it raises ends that.

    Raises:
        ConfigError: the calendar is unknown.
    """

    def __init__(
        self, pool: Pool, source: DataSource, watch: Watch, checkpoint: Callable[[], None] = lambda: None
    ) -> None:
        self._pool, self._source, self._watch, self._checkpoint = pool, source, watch, checkpoint
        self._settle = source.settle_of(watch.interval)
        self._coming = Coming(watch.calendar, watch.interval, self._settle)
        self._unavailable: dict[str, str] = {}
        #: The last final session, and since when splits and dividends were due, when that was last looked at.
        self._looked_at: tuple[date, datetime] | None = None
        self._again_at: datetime | None = None
        self._pause = _FIRST_PAUSE

    def describe(self) -> str:
        """What is watched, in words."""
        tickers = self._watch.tickers
        shown = ", ".join(tickers[:5]) + (f" and {len(tickers) - 5} more" if len(tickers) > 5 else "")
        return f"{self._watch.interval} bars of {shown} from {self._source.key()}"

    def next_due(self, after: datetime) -> datetime:
        """The first moment later than ``after`` at which there may be something new."""
        known = covering(self._watch.calendar, after.date(), after.date(), _AHEAD)
        soon = known.opens - np.timedelta64(BEFORE_OPEN, "us")
        due = [self._coming.next_bar(after), moment(soon[soon > stamp(after)][0])]
        if self._again_at is not None:
            due.append(max(self._again_at, after + timedelta(microseconds=1)))
        return min(due)

    def poll(self, now: datetime) -> Poll:
        """Bring what has become final by ``now``.

        Raises:
            SourceUnavailable, DatabaseUnavailable: for the moment; the next poll brings what this one did not.
            EngineError: another one that trying again does not mend.
        """
        final = last_final_session(self._watch.calendar, self._settle, now)
        over, due = Poll(), actions_due_at(self._watch.calendar, now)
        if self._looked_at != (final, due) or (self._again_at is not None and self._again_at <= now):
            over = self._bring(final, now)
            self._looked_at = final, due
            self._plan_again(over, now)
        running = self._running(final, now)
        found = Poll() if running is None else self._follow(running, now)
        return Poll(
            over.inserted + found.inserted,
            over.corrected + found.corrected,
            over.late,
            over.unavailable | found.unavailable,
            over.notes + found.notes,
        )

    def _tickers(self) -> list[str]:
        return [ticker for ticker in self._watch.tickers if ticker not in self._unavailable]

    def _bring(self, final: date, now: datetime) -> Poll:
        """Sessions that are over: those that lack, and some days before them again."""
        watch, self._unavailable = self._watch, {}  # what was not to be had may be by now
        start = min(watch.since, final)
        what = self._pool, self._source, watch.tickers, watch.interval, watch.calendar, start, final
        found = backfill(*what, lambda step: self._checkpoint(), now, overlap=OVERLAP)
        self._unavailable = dict(found.unavailable)
        known = coverage_of(self._pool, self._source.key(), watch.interval, watch.tickers)
        late = tuple(ticker for ticker in self._tickers() if ticker not in known or known[ticker].end < final)
        loaded = found.loaded
        return Poll(
            loaded.inserted, loaded.corrected, late, self._unavailable, (*loaded.changes(), *loaded.suspicions())
        )

    def _plan_again(self, found: Poll, now: datetime) -> None:
        if not found.late:
            self._again_at, self._pause = None, _FIRST_PAUSE
            return
        self._again_at, self._pause = now + self._pause, min(2 * self._pause, _LONGEST_PAUSE)

    def _running(self, final: date, now: datetime) -> date | None:
        """The session that has final bars and is not over."""
        if self._watch.interval == "1d":
            return None
        known = covering(self._watch.calendar, final, now.date(), _AHEAD)
        at = int(np.searchsorted(known.dates, np.datetime64(final, "D"), side="right"))
        first = moment(known.opens[at]) + STEPS[self._watch.interval] + self._settle
        day: date = known.dates[at].item()
        return day if first <= now else None

    def _follow(self, day: date, now: datetime) -> Poll:
        watch, tickers = self._watch, self._tickers()
        try:
            found = follow(self._pool, self._source, tickers, watch.interval, watch.calendar, day, now)
        except DataError as error:
            if not is_of_ticker(error):
                raise
            return self._follow_each(tickers, day, now)
        return Poll(found.inserted, found.corrected, notes=tuple(found.changes()))

    def _follow_each(self, tickers: Sequence[str], day: date, now: datetime) -> Poll:
        """One that is not to be had must not keep the others."""
        inserted, corrected, notes = 0, 0, list[str]()
        for ticker in tickers:
            try:
                what = self._pool, self._source, [ticker], self._watch.interval, self._watch.calendar, day, now
                found = follow(*what)
            except DataError as error:
                if not is_of_ticker(error):
                    raise
                self._unavailable[ticker] = str(error)
                continue
            inserted, corrected = inserted + found.inserted, corrected + found.corrected
            notes += found.changes()
        return Poll(inserted, corrected, unavailable=dict(self._unavailable), notes=tuple(notes))


def distinct(watches: Sequence[Watch]) -> list[Watch]:
    """The watches with those of one interval and calendar joined."""
    joined: dict[tuple[str, str], Watch] = {}
    for watch in watches:
        key = watch.interval, watch.calendar
        other = joined.get(key, watch)
        tickers = tuple(dict.fromkeys(other.tickers + watch.tickers))
        joined[key] = Watch(tickers, *key, min(watch.since, other.since))
    return list(joined.values())
