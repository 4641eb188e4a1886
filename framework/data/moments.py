"""The moments of a schedule by an exchange's calendar, whatever bars there are: when an allocation is due.

:mod:`framework.engine.schedule` asks the same of a portfolio's own bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from framework.data.calendars import STEPS, Sessions, covering
from framework.model.timeline import moment

#: No calendar month has more sessions: so many after a date its period's last session is known.
_AHEAD = 32
_AT_CLOSE = "close"


@dataclass(frozen=True)
class Due:
    """One moment of a schedule.

    Attributes:
        at: when the bars it acts on are available, aware UTC.
        session: its exchange date.
        slot: which moment of that session: ``close``, or the end of a bar as ``HH:MM`` UTC.
    """

    at: datetime
    session: date
    slot: str


def moments(
    calendar: str, interval: str, settle: timedelta, schedule: str, start: date, end: date, following: int = 0
) -> tuple[Due, ...]:
    """All moments of a schedule on the sessions from ``start`` to ``end``, in order.

    Args:
        calendar: name of the exchange calendar.
        interval: of the bars.
        settle: how long after its end the source may still change a bar.
        schedule: ``every_bar``, ``daily``, ``weekly`` or ``monthly``: the last session of the week or month.
        start, end: exchange dates, inclusive.
        following: sessions after ``end`` that are looked at too, as far as the calendar knows them.

    Raises:
        ConfigError: the calendar is unknown, or does not know these dates.
    """
    known = covering(calendar, start, end, following=_AHEAD + following)
    count = int(np.searchsorted(known.dates, np.datetime64(end, "D"), side="right")) + following
    count = min(count, len(known.dates))
    if schedule == "every_bar" and interval != "1d":
        return tuple(due for row in range(count) for due in _bars_of(known, row, interval, settle))
    acts = is_last_of(known.dates, schedule) if schedule in ("weekly", "monthly") else np.ones(count, dtype=np.bool_)
    return tuple(
        Due(moment(known.closes[row] + np.timedelta64(settle, "us")), known.dates[row].item(), _AT_CLOSE)
        for row in np.flatnonzero(acts[:count]).tolist()
    )


def is_last_of(sessions: NDArray[np.datetime64], schedule: str) -> NDArray[np.bool_]:
    """Which sessions are the last of their week or month; the last of all counts as one.

    Args:
        sessions: shape ``(S,)``, ``datetime64[D]``, rising.
        schedule: ``weekly`` or ``monthly``.
    """
    period = period_of(sessions, schedule)
    return np.concatenate([period[1:] != period[:-1], np.ones(min(1, len(period)), dtype=np.bool_)])


def period_of(days: NDArray[np.datetime64], schedule: str) -> NDArray[np.int64]:
    """A number per day that changes with the week (Monday on) or month."""
    if schedule == "monthly":
        return days.astype("datetime64[M]").astype(np.int64)
    # 1970-01-01, day 0, was a Thursday.
    return (days.astype("datetime64[D]").astype(np.int64) + 3) // 7


def _bars_of(known: Sessions, row: int, interval: str, settle: timedelta) -> Sequence[Due]:
    """The ends of the bars that a session can have."""
    step, session = np.timedelta64(STEPS[interval], "us"), known.dates[row].item()
    ends = np.arange(known.opens[row] + step, known.closes[row], step)
    found = [Due(moment(end + np.timedelta64(settle, "us")), session, f"{moment(end):%H:%M}") for end in ends]
    last = moment(known.closes[row] + np.timedelta64(settle, "us"))
    return [*found, Due(last, session, _AT_CLOSE)]
