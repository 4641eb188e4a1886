"""What comes next by an exchange's calendar: the next bar, the end of a session, how long a decision holds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from framework.data.calendars import STEPS, Sessions, covering
from framework.model.timeline import Timeline, moment, stamp

#: Sessions that are looked at from a moment on; no exchange closes for longer than that many calendar days.
_AHEAD = timedelta(days=20)


class Coming:
    """The future of one calendar and interval.

    Args:
        calendar: name of the exchange calendar.
        interval: of the bars.
        settle: how long after its end the source may still change a bar.

    Raises:
        ConfigError: the calendar is unknown.
    """

    def __init__(self, calendar: str, interval: str, settle: timedelta = timedelta(0)) -> None:
        self._calendar, self._interval = calendar, interval
        self._step, self._settle = np.timedelta64(STEPS[interval], "us"), np.timedelta64(settle, "us")
        self._latest: tuple[date | None, Sessions | None] = None, None

    def next_bar(self, after: datetime) -> datetime:
        """The first moment later than ``after`` at which a bar of the calendar becomes available."""
        known, now = self._sessions(after), stamp(after)
        at = int(np.searchsorted(known.closes + self._settle, now, side="right"))
        close = known.closes[at] + self._settle
        if self._interval == "1d":
            return moment(close)
        first = known.opens[at] + self._settle
        steps = max(0, int((now - first) // self._step)) + 1
        return moment(min(first + steps * self._step, close))

    def valid_until(self, schedule: str, clock: Timeline) -> datetime:
        """Until when orders may be sent that were decided on the newest bar of ``clock`` (trading-rules 6).

        Decisions on every bar of a session hold until the next bar; all others to the end of the session in which
        they should fill.
        """
        due = moment(clock.available[-1])
        if schedule == "every_bar" and self._interval != "1d" and not self.ends_session(clock):
            return self.next_bar(due)
        known = self._sessions(due)
        at = int(np.searchsorted(known.dates, clock.next_session[-1]))
        return moment(known.closes[at])

    def ends_session(self, clock: Timeline) -> bool:
        """Whether the newest bar of ``clock`` is the last that its session can have."""
        known = self._sessions(moment(clock.opens[-1]))
        at = int(np.searchsorted(known.dates, clock.session[-1]))
        ended: bool = clock.available[-1] >= known.closes[at] + self._settle
        return ended

    def last_of_session(self, clock: Timeline) -> NDArray[np.bool_]:
        """Shape ``(T,)``: as the timeline says it, but the newest bar counts only if its session is over."""
        last = clock.last_of_session()
        if len(last):
            last[-1] = self.ends_session(clock)
        return last

    def _sessions(self, at: datetime) -> Sessions:
        day, (known_day, known) = at.astimezone(UTC).date(), self._latest
        if day != known_day or known is None:
            known = covering(self._calendar, day, day, _AHEAD)
            self._latest = day, known  # in one step: threads share this
        return known
