"""The moments of a cron schedule on an exchange's sessions, and the bars that a portfolio decides on at them.

A slot is a moment of the cron text, in the calendar's time zone, on a date that is a session. It acts on the newest bar
that is available then. A bar is decided on once, by the first slot that finds it the newest: those after it, up to the
next bar, find nothing new. Orders of a slot inside a bar trade in the one after: the first that starts after the slot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from framework.data.calendars import of_year
from framework.errors import ConfigError, DataError
from framework.model.cron import cron_moments
from framework.model.panel import Times
from framework.model.timeline import Timeline, moment, stamp

Ints = NDArray[np.int64]

#: Years that are looked through for the next slot: 29 February on a certain weekday comes every 28 years at least.
_YEARS_AHEAD = 30
_TICK = np.timedelta64(1, "us")


@dataclass(frozen=True, eq=False)
class Delays:
    """What slots inside bars do to orders.

    Attributes:
        first_bars: shape ``(T,)``: the bar in which orders decided at each row trade at the earliest.
        is_void: shape ``(T,)``: whether day orders decided there end before, with the session.
    """

    first_bars: Ints
    is_void: NDArray[np.bool_]


@dataclass(frozen=True)
class Slots:
    """A schedule of cron text.

    Attributes:
        text: five fields.
        calendar: name of the exchange calendar.
        next_bar: the first moment after one at which a bar becomes available.
        is_daily: bars are daily: nobody trades in the middle of one.
    """

    text: str
    calendar: str
    next_bar: Callable[[datetime], datetime]
    is_daily: bool

    def __str__(self) -> str:
        return self.text

    def acting(self, timeline: Timeline, until: datetime | None = None) -> tuple[Ints, Times]:
        """The rows that a slot acts on, rising, and the first slot of each, UTC.

        Args:
            timeline: of the bars that are known.
            until: the moment that it is, for what is decided live; ``None``: all slots up to the next bar count.
        """
        available = timeline.available
        if not len(available):
            return np.empty(0, dtype=np.int64), np.empty(0, dtype="datetime64[us]")
        last = stamp(until) if until is not None else stamp(self.next_bar(moment(available[-1]))) - _TICK
        slots = self._between(available[0], last)
        rows = np.searchsorted(available, slots, side="right") - 1
        acting, first = np.unique(rows, return_index=True)
        return acting.astype(np.int64), slots[first]

    def delays(self, timeline: Timeline) -> Delays | None:
        """Where orders decided at each row trade at the earliest; ``None``: always in the next bar.

        That is so where no slot lies inside a bar.
        """
        rows, slots = self.acting(timeline)
        first_bars = np.arange(1, len(timeline) + 1, dtype=np.int64)
        first_bars[rows] = np.maximum(rows + 1, np.searchsorted(timeline.opens, slots))
        if (first_bars[rows] == rows + 1).all():
            return None
        is_void = np.zeros(len(timeline), dtype=np.bool_)
        if not self.is_daily:
            # A day order's session is that of the bar that is running, or the next to open.
            last = len(timeline) - 1
            own = np.minimum(np.searchsorted(timeline.available, slots, side="right"), last)
            is_void[rows] = timeline.session[own] != timeline.session[np.minimum(first_bars[rows], last)]
        return Delays(first_bars, is_void)

    def at_or_after(self, at: datetime) -> datetime:
        """The first slot that is not before a moment.

        Raises:
            ConfigError: there is none in decades.
        """
        day = at.date()
        for year in range(day.year - 1, day.year + _YEARS_AHEAD):
            slots = _year(self.calendar, self.text, year)
            found = int(np.searchsorted(slots, stamp(at)))
            if found < len(slots):
                return moment(slots[found])
        raise ConfigError(
            f"schedule {self.text!r} has no moment on a session of calendar {self.calendar} in {_YEARS_AHEAD} years "
            f"from {day} on; change the cron text"
        )

    def after(self, at: datetime) -> datetime:
        """The first slot later than a moment."""
        return self.at_or_after(moment(stamp(at) + _TICK))

    def _between(self, start: np.datetime64, end: np.datetime64) -> Times:
        """Both included."""
        years = [day.astype("datetime64[Y]").astype(int) + 1970 for day in (start, end)]
        parts = [_year(self.calendar, self.text, year) for year in range(years[0] - 1, years[1] + 2)]
        slots = np.concatenate(parts)
        return slots[np.searchsorted(slots, start) : np.searchsorted(slots, end, side="right")]


#: A schedule by name (``every_bar``, …), or the slots of cron text.
Schedule: TypeAlias = str | Slots


@lru_cache(maxsize=256)
def _year(calendar: str, text: str, year: int) -> Times:
    """The slots whose dates in the calendar's time zone are of that year."""
    try:
        known = of_year(calendar, year)
    except DataError:  # out of all bounds: no sessions, no slots
        return np.empty(0, dtype="datetime64[us]")
    moments = [cron_moments(text, day, known.zone) for day in known.dates.tolist()]
    return np.concatenate([np.empty(0, dtype="datetime64[us]"), *moments])
