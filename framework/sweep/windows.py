"""Walking forward: the steps in which a choice is made on some years and tried on the next."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from datetime import date, timedelta

from framework.data.calendars import sessions
from framework.errors import UsageError
from framework.model.sweep import Window

_ALLOWED = "a number with d (days), w (weeks), m (months) or y (years), such as 3y or 18m"
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Span:
    """A length of time by the calendar: whole months, or days.

    Attributes:
        text: as it was written.
        months, days: one of them is 0.
    """

    text: str
    months: int
    days: int

    def after(self, day: date, times: int = 1) -> date:
        """The day that lies so many times as long after another; the last of its month where that is shorter."""
        if not self.months:
            return day + timedelta(days=self.days * times)
        month = day.year * 12 + day.month - 1 + self.months * times
        first = date(month // 12, month % 12 + 1, 1)
        following = date((month + 1) // 12, (month + 1) % 12 + 1, 1)
        return min(first + timedelta(days=day.day - 1), following - _DAY)


def span_of(option: str, text: str) -> Span:
    """A length of time as it was typed.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"([1-9]\d{0,4})([dwmy])", text.strip())
    if found is None:
        raise UsageError(f"{option} was {text!r}; allowed: {_ALLOWED}")
    count, unit = int(found[1]), found[2]
    months = {"m": count, "y": 12 * count}.get(unit, 0)
    if months > 12 * 100:
        raise UsageError(f"{option} was {text!r}; allowed: up to a hundred years")
    return Span(text.strip(), months, {"d": count, "w": 7 * count}.get(unit, 0))


def windows_of(
    start: date, end: date, calendar: str, train: Span, test: Span, *, anchored: bool = False
) -> tuple[Window, ...]:
    """The windows of a walk forward from ``start`` to ``end``: each test begins where the one before it ended.

    Args:
        start, end: exchange dates, included; the last test ends at ``end``, and may be shorter.
        calendar: whose sessions count.
        train: what a choice is made on, right before its test.
        test: what it is tried on.
        anchored: each training begins at ``start``, and so they grow.

    Raises:
        UsageError: the time does not suffice for one window.
    """
    found: list[Window] = []
    begin = train.after(start)
    for number in itertools.count():
        first = start if anchored else test.after(start, number)
        test_start, test_end = test.after(begin, number), min(test.after(begin, number + 1) - _DAY, end)
        if test_start > end:
            break
        train_end = test_start - _DAY
        if len(sessions(calendar, first, train_end)) and len(sessions(calendar, test_start, test_end)):
            found.append(Window(len(found), first, train_end, test_start, test_end))
    if not found:
        raise UsageError(
            f"--train {train.text} with --test {test.text} needs more than {train.text} of time, but the run is "
            f"{start} to {end}; take shorter ones, or change start and end"
        )
    return tuple(found)
