"""Stored bars against the calendar: what is missing, what is too much, and what lies some hours beside.

Each session is judged by its own bars and those around it, so that it does not matter how many are looked at at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from framework.data.calendars import STEPS, Sessions, place
from framework.data.findings import EXAMPLES, Finding, Rows, of_rows
from framework.model.panel import Times

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]
Dates = NDArray[np.datetime64]

#: Bars may lie so many minutes beside their session, or as far as the exchange's clocks are from UTC.
_SHIFTS = tuple(sign * 60 * hours for hours in range(1, 12) for sign in (1, -1))
#: The margin around a shifted session that has to be empty, in hours.
_CLEAR = 2
#: Share of the bars around a shifted session that have to lie in it.
_INSIDE = 0.98
_FEWEST = 3
#: Sessions without a pause between them, such as a week of FX, are shifted together; if longer, they have no edge.
_LONGEST_STRETCH = np.timedelta64(6 * 24, "h")
_HOUR = np.timedelta64(1, "h")
_DAY = np.timedelta64(1, "D")
#: Between them, nearly all clock changes that data vendors know.
_ZONES = ("America/New_York", "America/Chicago", "Europe/London")


@dataclass(frozen=True)
class Part:
    """What of a series is judged in one go; the bars around it are there to be looked at.

    Attributes:
        first, stop: bars from ``first`` to ``stop`` (exclusive).
        start, end: sessions that open from ``start`` on and before ``end``.
        begin, last: the first and last bar of the whole series, between which sessions are expected.
    """

    first: int
    stop: int
    start: np.datetime64
    end: np.datetime64
    begin: np.datetime64
    last: np.datetime64

    def rows(self, mask: Mask) -> Rows:
        """Which of the part's bars are set in ``mask``, as indices."""
        return np.flatnonzero(mask[self.first : self.stop]) + self.first


def attendance(times: Times, interval: str, known: Sessions, part: Part) -> list[Finding]:
    """What the calendar says about some bars of one ticker.

    Args:
        times: shape ``(K,)``, ``datetime64[us]`` UTC, strictly rising; with a week around what is judged.
        interval: of the bars.
        known: the sessions of at least these times.
        part: which bars and sessions are judged.
    """
    return _daily(times, known, part) if interval == "1d" else _intraday(times, interval, known, part)


def _expected(known: Sessions, part: Part, interval: str) -> Mask:
    """Sessions that are judged, and ought to have bars."""
    due: Mask
    if interval == "1d":
        due = (known.dates >= part.begin.astype("datetime64[D]")) & (known.dates <= part.last.astype("datetime64[D]"))
        due &= (known.dates >= part.start) & (known.dates < part.end)
        return due
    due = (known.closes > part.begin) & (known.opens <= part.last)
    due &= (known.opens >= part.start) & (known.opens < part.end)
    return due


def _daily(times: Times, known: Sessions, part: Part) -> list[Finding]:
    dates = (times + 12 * _HOUR).astype("datetime64[D]")  # a label that is not midnight means the nearest
    at, inside = place(known, "1d", dates.astype("datetime64[us]"))
    present = np.zeros(len(known.dates), dtype=np.bool_)
    present[at[inside]] = True
    missing = ~present & _expected(known, part, "1d")
    # A label that is not midnight was made of a local time. A bar on a Sunday may be Monday's, a day early: then the
    # Friday of the same week is empty. On a Saturday, a day late: then the Monday is.
    beside = times != dates
    weekday = (dates.astype(np.int64) + 3) % 7
    for day, lacking in ((6, 5 * _DAY), (5, -5 * _DAY)):
        meant = (dates + lacking).astype("datetime64[D]")
        moved = ~inside & (weekday == day) & _lacks(known, present, meant)
        beside |= moved
        missing &= ~np.isin(known.dates, meant[moved])
    return [
        *_sessions("missing session", known, np.flatnonzero(missing)),
        *of_rows("outside session", part.rows(~inside & ~beside), times, lambda row: f"no session on {dates[row]}"),
        *of_rows("wrong time zone", part.rows(beside), times, lambda row: f"a daily bar dated {_minute(times[row])}"),
    ]


def _lacks(known: Sessions, present: Mask, dates: Dates) -> Mask:
    """Whether there is a session on each date, and no bar of it."""
    at = np.minimum(known.dates.searchsorted(dates), len(known.dates) - 1)
    lacks: Mask = (known.dates[at] == dates) & ~present[at]
    return lacks


def _intraday(times: Times, interval: str, known: Sessions, part: Part) -> list[Finding]:
    step = np.timedelta64(STEPS[interval], "us")
    at, inside = place(known, interval, times)
    counts = np.bincount(at[inside], minlength=len(known.dates))
    judged = _expected(known, part, interval)
    shift = _shifts(times, known, step) if step <= _HOUR else np.zeros(len(known.dates), dtype=np.int64)
    moved, moved_from = _moved(times, known, step, shift)
    missing = judged & (counts == 0) & (shift == 0)
    found = _sessions("missing session", known, np.flatnonzero(missing))
    repeated, lacking = _repeated_hours(times, known, step, part)
    slots = _slots(known, step) - lacking
    gaps = np.where(judged & (counts > 0) & (shift == 0), np.maximum(slots - counts, 0), 0)
    # Before the first bar and after the last one of all nothing is known to be missing.
    for edge in (part.begin, part.last):
        gaps[(known.opens <= edge) & (edge < known.closes)] = 0
    partly = np.flatnonzero(gaps)
    if len(partly):
        first = tuple((known.opens[row], f"{gaps[row]} of {slots[row]} bars") for row in partly[:EXAMPLES])
        found.append(Finding("missing minutes", int(gaps.sum()), first))
    outside = part.rows(~inside & ~moved)
    found += of_rows("outside session", outside, times, lambda row: "outside trading hours")
    found += of_rows(
        "wrong time zone", part.rows(moved), times, lambda row: f"{moved_from[row] / 60:+g} h beside the session"
    )
    return found + repeated


def _sessions(code: str, known: Sessions, rows: Rows) -> list[Finding]:
    if not len(rows):
        return []
    first = tuple((known.opens[row], f"session of {known.dates[row]}") for row in rows[:EXAMPLES])
    return [Finding(code, len(rows), first)]


def _slots(known: Sessions, step: np.timedelta64) -> Ints:
    """How many bars a session has."""
    length = known.closes - known.opens
    pause = ~np.isnat(known.break_starts)
    slots: Ints = -(-length // step)
    morning, afternoon = known.break_starts - known.opens, known.closes - known.break_ends
    slots[pause] = (-(-morning[pause] // step)) + (-(-afternoon[pause] // step))
    return slots


def _shifts(times: Times, known: Sessions, step: np.timedelta64) -> Ints:
    """By how many minutes the bars of each session lie beside it; 0: they do not.

    The bars fill the shifted session to both edges and lie nowhere else around it, and the part of the session that
    they would have left is empty.
    """
    starts = np.flatnonzero(np.concatenate(([True], known.opens[1:] > known.closes[:-1])))
    stops = np.append(starts[1:], len(known.dates))
    opens, closes = known.opens[starts], known.closes[stops - 1]
    reach = step - np.timedelta64(1, "us")  # a bar that starts before the open belongs to it where it reaches into it

    def count(begin: Times, end: Times) -> Ints:
        held: Ints = times.searchsorted(end) - times.searchsorted(begin - reach)
        return held

    fewest = min(_FEWEST, int(_HOUR // step))
    found = np.zeros(len(starts), dtype=np.int64)
    # Twelve hours after one session may be twelve before the next: the likelier shift is tried first.
    for minutes in dict.fromkeys((*_distances(known), *_SHIFTS)):
        by = np.timedelta64(minutes, "m")
        low, high = opens + by, closes + by
        own = count(low, high)
        around = count(low - _CLEAR * _HOUR, high + _CLEAR * _HOUR)
        edges = (count(low, low + _HOUR) > 0) & (count(high - _HOUR, high) > 0)
        if minutes > 0:
            left = count(opens, np.minimum(low, closes) - reach)
            beyond = times.searchsorted(high) - times.searchsorted(np.maximum(closes, low))
        else:
            left = times.searchsorted(closes) - times.searchsorted(np.maximum(high, opens))
            beyond = count(low, np.minimum(opens, high) - reach)
        fits = edges & (left <= 0) & (beyond >= fewest) & (own >= _INSIDE * around)
        found[fits & (found == 0) & (closes - opens <= _LONGEST_STRETCH)] = minutes
    return np.repeat(found, stops - starts)


def _distances(known: Sessions) -> list[int]:
    """How far local times of the exchange are from UTC, in minutes, in both directions: India's are no whole hours."""
    moments = [known.opens[row].item().replace(tzinfo=UTC) for row in range(0, len(known.opens), 100)]
    found = {_offset(moment, known.zone) // timedelta(minutes=1) for moment in moments}
    return [minutes for each in sorted(found) for minutes in (each, -each) if minutes]


def _moved(times: Times, known: Sessions, step: np.timedelta64, shift: Ints) -> tuple[Mask, Ints]:
    """Which bars belong to a shifted session, and by how many minutes."""
    by = np.zeros(len(times), dtype=np.int64)
    reach = step - np.timedelta64(1, "us")
    for row in np.flatnonzero(shift):
        beside = np.timedelta64(int(shift[row]), "m")
        span = times.searchsorted([known.opens[row] + beside - reach, known.closes[row] + beside])
        by[span[0] : span[1]] = shift[row]
    return by != 0, by


def _repeated_hours(times: Times, known: Sessions, step: np.timedelta64, part: Part) -> tuple[list[Finding], Ints]:
    """Nights in which one of the two equal hours is empty, and how many bars that is of each session."""
    lacking = np.zeros(len(known.dates), dtype=np.int64)
    first: dict[np.datetime64, str] = {}
    if step > _HOUR or not len(times):
        return [], lacking
    full = int(_HOUR // step)
    years = range(times[0].item().year, times[-1].item().year + 1)
    for moment, zone in (change for year in years for change in _changes(year)):
        at = int(np.minimum(known.closes.searchsorted(moment, side="right"), len(known.dates) - 1))
        opens = known.opens[at]
        # The session may begin within these hours, as one of 24/7 does: then there is no pause after the one before.
        before = at if opens <= moment - 2 * _HOUR else max(at - 1, 0)
        joined = known.opens[before] <= moment - 2 * _HOUR and known.closes[before] >= min(opens, moment - _HOUR)
        if not (joined and part.start <= opens < part.end and opens <= moment and known.closes[at] > moment + _HOUR):
            continue
        edges = moment + np.arange(-2, 3) * _HOUR
        held = np.diff(times.searchsorted(edges))
        if min(held[0], held[3]) * 2 < full or min(held[1], held[2]) or not max(held[1], held[2]):
            continue
        empty = edges[1] if held[1] == 0 else edges[2]
        first.setdefault(empty, f"no bar in the hour from then on, when clocks of {zone} go back")
    for empty in first:
        lacking[int(np.minimum(known.closes.searchsorted(empty, side="right"), len(known.dates) - 1))] += full
    found = [Finding("repeated hour", len(first), tuple(first.items())[:EXAMPLES])] if first else []
    return found, lacking


@lru_cache(maxsize=512)
def _changes(year: int) -> tuple[tuple[np.datetime64, str], ...]:
    """The moments of a year's second half at which clocks go back, with the zone's name."""
    found = []
    for zone in map(ZoneInfo, _ZONES):
        moment, end = datetime(year, 7, 1, tzinfo=UTC), datetime(year, 12, 31, tzinfo=UTC)
        while moment < end:
            # Days first, and in the day at whose end the clocks differ the hour.
            for span in (timedelta(days=1), timedelta(hours=1)):
                while moment < end and _offset(moment + span, zone) >= _offset(moment, zone):
                    moment += span
            if moment < end:
                moment += timedelta(hours=1)
                found.append((np.datetime64(moment.replace(tzinfo=None), "us"), zone.key))
    return tuple(found)


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta(0)


def _minute(moment: np.datetime64) -> str:
    return f"{moment.astype('datetime64[m]').item():%Y-%m-%d %H:%M} UTC"
