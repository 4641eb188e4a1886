"""What comes next by an exchange's calendar: the next bar, the end of a session, how long a decision holds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from framework.data.calendars import STEPS, Sessions, covering
from framework.data.slots import Schedule, Slots
from framework.model.timeline import SCHEDULES, Timeline, moment, stamp

#: Sessions that are looked at from a moment on; no exchange closes for longer than that many calendar days.
_AHEAD = timedelta(days=20)
_ANY_DAY = datetime(2020, 1, 1, tzinfo=UTC)

#: Two moments of a bar that tell it from others.
_Bar = tuple[np.datetime64, np.datetime64]


class Coming:
    """The future of one calendar and interval; safe for any number of threads.

    All portfolios of an engine ask the same at every bar: the last answers are kept.

    Args:
        calendar: name of the exchange calendar.
        interval: of the bars.
        settle: how long after its end the source may still change a bar.

    Raises:
        ConfigError: the calendar is unknown.
    """

    def __init__(self, calendar: str, interval: str, settle: timedelta = timedelta(0)) -> None:
        self._calendar, self.interval = calendar, interval
        self._step, self._settle = np.timedelta64(STEPS[interval], "us"), np.timedelta64(settle, "us")
        self._latest: tuple[date | None, Sessions | None] = None, None
        #: A moment, and the first one later than it at which a bar becomes available.
        self._next: tuple[datetime, datetime] = _ANY_DAY, _ANY_DAY
        #: By schedule: the newest bar's end and its next session, and until when decisions on it hold.
        self._holds: dict[Schedule, tuple[_Bar, datetime]] = {}
        #: The newest bar's end and its session, and whether it is the session's last.
        self._ends: tuple[_Bar | None, bool] = None, False

    def schedule(self, text: str) -> Schedule:
        """A schedule as configs write it: its name, or the slots of cron text.

        Raises:
            ConfigError: no slot ever falls on a session.
        """
        if text in SCHEDULES:
            return text
        slots = Slots(text, self._calendar, self.next_bar, self.interval == "1d")
        slots.at_or_after(_ANY_DAY)
        return slots

    def next_due(self, schedule: Schedule, after: datetime) -> datetime:
        """The first moment later than ``after`` at which there may be something to value or to decide."""
        due = self.next_bar(after)
        return min(due, schedule.after(after)) if isinstance(schedule, Slots) else due

    def next_bar(self, after: datetime) -> datetime:
        """The first moment later than ``after`` at which a bar of the calendar becomes available."""
        before, coming = self._next
        if not before <= after < coming:
            coming = self._next_bar(after)
            self._next = after, coming
        return coming

    def _next_bar(self, after: datetime) -> datetime:
        known, now = self._sessions(after), stamp(after)
        at = int(np.searchsorted(known.closes + self._settle, now, side="right"))
        close = known.closes[at] + self._settle
        if self.interval == "1d":
            return moment(close)
        first = known.opens[at] + self._settle
        steps = max(0, int((now - first) // self._step)) + 1
        return moment(min(first + steps * self._step, close))

    def valid_until(self, schedule: Schedule, clock: Timeline) -> datetime:
        """Until when orders may be sent that were decided on the newest bar of ``clock`` (trading-rules 6).

        Decisions on every bar of a session hold until the next bar; all others to the end of the session in which
        they should fill, those of cron text not beyond the slot that finds a newer bar.
        """
        bar = clock.available[-1], clock.next_session[-1]
        found = self._holds.get(schedule)
        if found is None or found[0] != bar:
            found = self._holds[schedule] = bar, self._valid_until(schedule, clock)
        return found[1]

    def _valid_until(self, schedule: Schedule, clock: Timeline) -> datetime:
        due = moment(clock.available[-1])
        if isinstance(schedule, Slots):
            slot = schedule.at_or_after(due)
            known = self._sessions(slot)
            ahead = known.opens >= stamp(slot) if self.interval == "1d" else known.closes > stamp(slot)
            return min(moment(known.closes[np.argmax(ahead)]), schedule.at_or_after(self.next_bar(slot)))
        if schedule == "every_bar" and self.interval != "1d" and not self.ends_session(clock):
            return self.next_bar(due)
        known = self._sessions(due)
        at = int(np.searchsorted(known.dates, clock.next_session[-1]))
        return moment(known.closes[at])

    def ends_session(self, clock: Timeline) -> bool:
        """Whether the newest bar of ``clock`` is the last that its session can have."""
        bar = clock.available[-1], clock.session[-1]
        found = self._ends
        if found[0] != bar:
            found = self._ends = bar, self._ends_session(clock)
        return found[1]

    def _ends_session(self, clock: Timeline) -> bool:
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

    @property
    def is_daily(self) -> bool:
        """Whether the bars are daily, and so named by their day."""
        return self.interval == "1d"

    def opening(self, day: date) -> tuple[date, datetime]:
        """The first session on or after a day, and when it opens."""
        known = covering(self._calendar, day, day, _AHEAD)
        at = int(np.searchsorted(known.dates, np.datetime64(day, "D")))
        return known.dates[at].item(), moment(known.opens[at])

    def _sessions(self, at: datetime) -> Sessions:
        day, (known_day, known) = at.astimezone(UTC).date(), self._latest
        if day != known_day or known is None:
            known = covering(self._calendar, day, day, _AHEAD)
            self._latest = day, known  # in one step: threads share this
        return known
