"""When exchanges trade: sessions, and for each bar the moment it can be traded and the moment it is known.

This is the only place that answers either question (trading-rules 3): reading, simulating and the lookahead check
all use :func:`timeline`.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from threading import Lock
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from framework.errors import ConfigError, DataError
from framework.model.panel import Times
from framework.model.timeline import Timeline

Dates = NDArray[np.datetime64]
Mask = NDArray[np.bool_]

#: Length of a bar of each interval; a daily bar is as long as its session.
STEPS = {
    "1min": timedelta(minutes=1),
    "5min": timedelta(minutes=5),
    "15min": timedelta(minutes=15),
    "30min": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
}

#: Calendars that need no list of holidays. ``FX``: Monday to Friday, each from 17:00 New York of the day before.
CONTINUOUS = ("24/5", "24/7", "FX")

_FIRST_YEAR, _LAST_YEAR = 1900, 2100
_DAY = np.timedelta64(1, "D")
_NEW_YORK = ZoneInfo("America/New_York")

#: Portfolio threads that need the same calendar at once wait for one build of it.
_BUILDING = Lock()


@dataclass(frozen=True, eq=False)
class Sessions:
    """The sessions of one calendar, oldest first.

    Attributes:
        calendar: its name.
        zone: its time zone.
        dates: shape ``(S,)``, ``datetime64[D]``: exchange dates.
        opens, closes: shape ``(S,)``, ``datetime64[us]`` UTC.
        break_starts, break_ends: the same, of a lunch break; NaT where there is none.
    """

    calendar: str
    zone: ZoneInfo
    dates: Dates
    opens: Times
    closes: Times
    break_starts: Times
    break_ends: Times

    def between(self, first: int, stop: int) -> Sessions:
        """Sessions ``first`` to ``stop`` (exclusive) as views."""
        cut = slice(first, stop)
        arrays = (self.dates, self.opens, self.closes, self.break_starts, self.break_ends)
        return Sessions(self.calendar, self.zone, *(array[cut] for array in arrays))


def check_calendar(name: str) -> None:
    """Check that a calendar exists.

    Raises:
        ConfigError: it does not; names the nearest.
    """
    if name in CONTINUOUS:
        return
    with _quiet():
        import exchange_calendars
    known = sorted({*exchange_calendars.get_calendar_names(include_aliases=True), *CONTINUOUS})
    if name in known:
        return
    near = difflib.get_close_matches(name.upper(), known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(map(repr, near))}? " if near else ""
    raise ConfigError(
        f"calendar {name!r} is unknown; {hint}Use an exchange's ISO code such as XNYS, XLON or XTKS, "
        "'24/7' for crypto, or 'FX'"
    )


def sessions(calendar: str, start: date, end: date) -> Dates:
    """Exchange dates of the sessions from ``start`` to ``end``, inclusive: ``datetime64[D]``, rising.

    Raises:
        ConfigError: the calendar is unknown, or does not know these dates.
    """
    return covering(calendar, start, end).dates


def outside_sessions(calendar: str, interval: str, timestamps: Times) -> Mask:
    """Which bars belong to no session: a daily bar on a holiday, an intraday bar outside trading hours or in a break.

    Args:
        calendar: name of the exchange calendar.
        interval: of the bars.
        timestamps: shape ``(T,)``, ``datetime64[us]`` UTC, rising: starts of the bars.

    Returns:
        mask of shape ``(T,)``.
    """
    if not len(timestamps):
        return np.zeros(0, dtype=np.bool_)
    return ~place(_around(calendar, timestamps), interval, timestamps)[1]


def timeline(calendar: str, interval: str, timestamps: Times, settle: timedelta = timedelta(0)) -> Timeline:
    """The clock of a panel: when each bar opens, when it is known, and its session.

    Args:
        calendar: name of the exchange calendar.
        interval: of the bars.
        timestamps: shape ``(T,)``, ``datetime64[us]`` UTC, strictly rising, each inside a session.
        settle: how long after its end the source may still change a bar.

    Raises:
        ConfigError: the calendar is unknown, or does not know these dates.
        DataError: a bar is outside every session (drop those of :func:`outside_sessions` first).
    """
    if not len(timestamps):
        empty = np.empty(0, dtype="datetime64[D]")
        return Timeline(timestamps, timestamps, timestamps, empty, empty)
    known = _around(calendar, timestamps)
    at, inside = place(known, interval, timestamps)
    if not inside.all():
        bad = timestamps[~inside][0]
        raise DataError(f"the {interval} bar of {bad} UTC is outside every session of calendar {calendar}")
    if at[-1] + 1 == len(known.dates):
        raise ConfigError(f"calendar {calendar!r} knows no session after {known.dates[-1]}; the bars must end earlier")
    opens, closes = known.opens[at], known.closes[at]
    if interval == "1d":
        available = closes
    else:
        # Nearly always every bar starts inside its session: then its start is its opening, and no copy is needed.
        opens = timestamps if (opens <= timestamps).all() else np.maximum(opens, timestamps)
        available = np.minimum(closes, timestamps + np.timedelta64(STEPS[interval], "us"))
    if settle:
        available = available + np.timedelta64(settle, "us")
    return Timeline(timestamps, opens, available, known.dates[at], known.dates[at + 1])


def ends(calendar: str | None, interval: str, timestamps: Times) -> Times:
    """When intraday bars end: those of a session at its close at the latest.

    Args:
        calendar: name of the exchange calendar; ``None``: no session cuts a bar.
        interval: of the bars.
        timestamps: shape ``(T,)``, ``datetime64[us]`` UTC, rising: starts of the bars.

    Raises:
        ConfigError: the calendar is unknown, or does not know these dates.
    """
    whole: Times = timestamps + np.timedelta64(STEPS[interval], "us")
    if calendar is None or not len(timestamps):
        return whole
    known = _around(calendar, timestamps)
    at, inside = place(known, interval, timestamps)
    return np.where(inside, np.minimum(known.closes[at], whole), whole)


def reading_span(calendar: str, interval: str, start: date, end: date) -> tuple[datetime, datetime]:
    """First and last possible timestamp (inclusive, UTC) of bars of the sessions from ``start`` to ``end``.

    Raises:
        ConfigError: the calendar is unknown, or does not know these dates.
        DataError: there is no session between the two dates.
    """
    known = covering(calendar, start, end)
    if not len(known.dates):
        raise DataError(f"calendar {calendar} has no session from {start} to {end}; choose a longer span")
    if interval == "1d":
        return _utc(known.dates[0]), _utc(known.dates[-1])
    # A bar that starts before the open belongs to the session if it reaches into it; one that starts at the close
    # belongs to the next.
    tick = timedelta(microseconds=1)
    return _utc(known.opens[0]) - STEPS[interval] + tick, _utc(known.closes[-1]) - tick


def warmup_start(calendar: str, interval: str, start: date, bars: int) -> date:
    """The exchange date from which at least ``bars`` bars lie before the session of ``start``, by the calendar.

    Where the calendar does not reach back that far, its first date.
    """
    if bars <= 0:
        return start
    known = _known(calendar, start, start)
    before = known.between(0, int(np.searchsorted(known.dates, np.datetime64(start, "D"))))
    if not len(before.dates):
        return start
    enough = np.flatnonzero(np.cumsum(_bars_per_session(before, interval)[::-1]) >= bars)
    return _date(before.dates[-1 - int(enough[0])]) if len(enough) else _date(before.dates[0])


def _bars_per_session(known: Sessions, interval: str) -> NDArray[np.int64]:
    if interval == "1d":
        return np.ones(len(known.dates), dtype=np.int64)
    has_pause = ~np.isnat(known.break_starts)
    traded = known.closes - known.opens
    traded[has_pause] -= (known.break_ends - known.break_starts)[has_pause]
    counts: NDArray[np.int64] = np.maximum(traded // np.timedelta64(STEPS[interval], "us"), 1)
    return counts


def place(known: Sessions, interval: str, timestamps: Times) -> tuple[NDArray[np.intp], Mask]:
    """Session index of each bar, and whether the bar is inside it (the index means nothing where it is not).

    Args:
        known: rising sessions, one at least.
        interval: of the bars.
        timestamps: shape ``(T,)``: starts of the bars.
    """
    last = len(known.dates) - 1
    if interval == "1d":
        dates = timestamps.astype("datetime64[D]")
        at = np.minimum(np.searchsorted(known.dates, dates), last)
        return at, known.dates[at] == dates
    ends = timestamps + np.timedelta64(STEPS[interval], "us")
    at = np.minimum(np.searchsorted(known.closes, timestamps, side="right"), last)
    inside = (known.opens[at] < ends) & (timestamps < known.closes[at])
    if not np.isnat(known.break_starts).all():
        inside &= ~((known.break_starts[at] <= timestamps) & (ends <= known.break_ends[at]))
    return at, inside


def _around(calendar: str, timestamps: Times) -> Sessions:
    """The sessions that rising ``timestamps`` can belong to, and at least one after them."""
    margin = timedelta(days=2)  # exchange dates differ from UTC dates by a day at most
    return covering(calendar, _date(timestamps[0]), _date(timestamps[-1]), margin, following=1)


def covering(calendar: str, start: date, end: date, margin: timedelta = timedelta(0), following: int = 0) -> Sessions:
    """The sessions from ``start`` − ``margin`` to ``end`` + ``margin``, and as many ``following`` them."""
    known = _known(calendar, start, end)
    low, high = _date(known.dates[0]), _date(known.dates[-1])
    if start < low - timedelta(days=31) or end > high:
        raise ConfigError(
            f"calendar {calendar!r} knows the sessions from {low} to {high} only; {start} to {end} was asked"
        )
    first = int(np.searchsorted(known.dates, np.datetime64(start - margin, "D")))
    stop = int(np.searchsorted(known.dates, np.datetime64(end + margin, "D"), side="right"))
    return known.between(first, stop + following)


def of_year(calendar: str, year: int) -> Sessions:
    """The sessions of a year, as far as the calendar knows it.

    Raises:
        DataError: the year is out of all bounds.
    """
    known = _known(calendar, date(year, 1, 1), date(year, 12, 31))
    first, stop = np.searchsorted(known.dates, np.array([f"{year}-01-01", f"{year + 1}-01-01"], dtype="datetime64[D]"))
    return known.between(int(first), int(stop))


def _known(calendar: str, start: date, end: date) -> Sessions:
    """All sessions that the calendar knows in the decades around ``start`` to ``end``."""
    if start > end:
        raise DataError(f"the span from {start} to {end} is empty: its end lies before its start")
    if not _FIRST_YEAR <= start.year <= end.year <= _LAST_YEAR:
        raise DataError(f"dates must lie in the years {_FIRST_YEAR} to {_LAST_YEAR}; {start} to {end} was asked")
    # A calendar costs the same for ten years as for fifty, so one build of the usual decades serves every call.
    with _BUILDING:
        return _built(calendar, min((start.year - 10) // 10 * 10, 1990), max((end.year + 1) // 10 * 10 + 9, 2039))


@lru_cache(maxsize=32)
def _built(calendar: str, first_year: int, last_year: int) -> Sessions:
    """All sessions of whole decades, or of as much of them as the calendar knows."""
    start, end = date(first_year, 1, 1), date(last_year, 12, 31)
    if calendar in CONTINUOUS:
        return _continuous(calendar, start, end)
    check_calendar(calendar)
    return _exchange(calendar, start, end)


def _exchange(calendar: str, start: date, end: date) -> Sessions:
    try:
        built = _build(calendar, start, end)
    except ConfigError:  # most likely a calendar that knows fewer years: build those
        built = _build(calendar, *_known_years(calendar, start, end))
    times = (built.opens_nanos, built.closes_nanos, built.break_starts_nanos, built.break_ends_nanos)
    opens, closes, break_starts, break_ends = (
        array.astype("datetime64[ns]").astype("datetime64[us]") for array in times
    )
    dates = built.sessions_nanos.astype("datetime64[ns]").astype("datetime64[D]")
    return Sessions(calendar, ZoneInfo(str(built.tz)), dates, opens, closes, break_starts, break_ends)


def _known_years(calendar: str, start: date, end: date) -> tuple[date, date]:
    kind = type(_build(calendar, date(2024, 1, 1), date(2024, 3, 1)))
    low, high = kind.bound_min(), kind.bound_max()
    return (start if low is None else max(start, low.date())), (end if high is None else min(end, high.date()))


def _build(calendar: str, start: date, end: date) -> Any:
    try:
        with _quiet():
            import exchange_calendars

            return exchange_calendars.get_calendar(calendar, start=start, end=end)
    except (ValueError, NotImplementedError) as error:
        raise ConfigError(
            f"the exchange_calendars library cannot build calendar {calendar!r} for {start} to {end}: "
            f"{str(error)[:200]}. Use another calendar, such as one of the same holidays"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """The library uses parts of pandas that other versions call deprecated: nothing that a user can change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _continuous(calendar: str, start: date, end: date) -> Sessions:
    dates = np.arange(np.datetime64(start, "D"), np.datetime64(end, "D") + _DAY, _DAY)
    if calendar != "24/7":
        dates = dates[np.is_busday(dates)]
    if calendar == "FX":
        opens, closes = _new_york_17(dates - _DAY), _new_york_17(dates)
    else:
        opens, closes = dates.astype("datetime64[us]"), (dates + _DAY).astype("datetime64[us]")
    never = np.full(len(dates), np.datetime64("NaT", "us"), dtype="datetime64[us]")
    zone = _NEW_YORK if calendar == "FX" else ZoneInfo("UTC")
    return Sessions(calendar, zone, dates, opens, closes, never, never)


def _new_york_17(dates: Dates) -> Times:
    moments = [datetime(day.year, day.month, day.day, 17, tzinfo=_NEW_YORK) for day in dates.tolist()]
    return np.array([moment.timestamp() for moment in moments]).astype("datetime64[s]").astype("datetime64[us]")


def _date(moment: np.datetime64) -> date:
    day: date = moment.astype("datetime64[D]").item()
    return day


def _utc(moment: np.datetime64) -> datetime:
    naive: datetime = moment.astype("datetime64[us]").item()
    return naive.replace(tzinfo=UTC)
