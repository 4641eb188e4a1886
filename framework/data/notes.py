"""What a reader of a run's results should know of its bars, splits and dividends, a sentence each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from framework.data.adjust import Mode
from framework.data.calendars import sessions
from framework.model.panel import Panel
from framework.model.timeline import Timeline

#: Bars may begin or end so many sessions late or early before it is said.
TOLERATED_SESSIONS = 5

_SENTENCES = 5  # of one kind


@dataclass(frozen=True, eq=False)
class Range:
    """The bars of a run, and which of them count.

    Attributes:
        panel: warm-up and all.
        clock: of the same rows.
        first: the first row that counts; there is one.
        calendar: name of the exchange calendar.
        start, end: exchange dates that were asked for, both included.
    """

    panel: Panel
    clock: Timeline
    first: int
    calendar: str
    start: date
    end: date

    @property
    def dates(self) -> tuple[date, date]:
        """Sessions of the first row that counts and of the last."""
        return self.clock.session[self.first].item(), self.clock.session[-1].item()


def on_bars(run: Range, stored: Mapping[str, tuple[datetime, datetime]]) -> list[str]:
    """Sentences on bars that are not there, at either end of the run and (daily ones) between.

    Args:
        run: its bars.
        stored: first and last stored bar of each ticker, in the run or not.
    """
    there = ~np.isnan(run.panel.close[run.first :])
    some: NDArray[np.bool_] = np.logical_or.reduce(there)
    opening, closing = there.argmax(axis=0), len(there) - 1 - there[::-1].argmax(axis=0)
    # Each row's session, counted from start.
    number = np.searchsorted(sessions(run.calendar, run.start, run.end), run.clock.session[run.first :])
    # Where all begin late, that is said once, and only who is later still is named.
    begun = number[0] if number[0] > TOLERATED_SESSIONS else 0
    late = some & (number[opening] - begun > TOLERATED_SESSIONS)
    early = some & (number[-1] - number[closing] > TOLERATED_SESSIONS)
    return [
        *_ends(run, int(number[0]), int(number[-1])),
        *_few([_silent(run, column, stored) for column in _where(~some)], "without a bar in the range of the run"),
        *_few([_late(run, column, int(opening[column]), stored) for column in _where(late)], "with a late beginning"),
        *_few([_early(run, column, int(closing[column])) for column in _where(early)], "with an early end"),
        *(_gaps(run) if run.panel.interval == "1d" else ()),
    ]


def on_actions(source: str, mode: Mode, known: bool) -> list[str]:
    """A sentence where splits and dividends may be missing, of a source whose prices are as traded.

    Args:
        source: its key.
        mode: what strategies see adjusted for; who asks for ``none`` knows what the prices are.
        known: whether the source states any at all, of any ticker of the whole run.
    """
    if known or mode == "none":
        return []
    return [
        f"{source} states no splits or dividends: its prices are used as they are; a split would look like a loss, and "
        "no dividend is paid"
    ]


def _where(mask: NDArray[np.bool_]) -> list[int]:
    columns: list[int] = np.flatnonzero(mask).tolist()
    return columns


def _few(sentences: list[str], others: str) -> list[str]:
    """The first sentences of a kind, and how many tickers more there are."""
    more = len(sentences) - _SENTENCES
    return sentences[:_SENTENCES] + ([f"and {more} more {others}"] if more > 0 else [])


def _ends(run: Range, before: int, last: int) -> list[str]:
    """Sentences where no ticker at all has bars at the beginning or the end."""
    begin, end = run.dates
    after = len(sessions(run.calendar, run.start, run.end)) - 1 - last
    found = []
    if before > TOLERATED_SESSIONS:
        found.append(f"the data begin {begin}, after start {run.start}")
    if after > TOLERATED_SESSIONS:
        found.append(f"the data end {end}, before end {run.end}")
    return found


def _silent(run: Range, column: int, stored: Mapping[str, tuple[datetime, datetime]]) -> str:
    ticker = run.panel.tickers[column]
    first, last = stored[ticker]
    return f"{ticker} has no bar in the range of the run; it has some from {first:%Y-%m-%d} to {last:%Y-%m-%d}"


def _late(run: Range, column: int, opening: int, stored: Mapping[str, tuple[datetime, datetime]]) -> str:
    ticker, row = run.panel.tickers[column], run.first + opening
    day = run.clock.session[row]
    older = np.datetime64(stored[ticker][0].replace(tzinfo=None), "us") < run.panel.timestamps[row]
    return f"{ticker} has no bar in the run before {day}" if older else f"{ticker} has bars from {day} only"


def _early(run: Range, column: int, closing: int) -> str:
    day = run.clock.session[run.first + closing]
    return f"{run.panel.tickers[column]} has no bar after {day}: it is valued at its last close from then on"


def _gaps(run: Range) -> list[str]:
    """A sentence on daily bars that are missing between a ticker's first and last one; none where all are there."""
    session = run.clock.session
    days = sessions(run.calendar, session[0].item(), session[-1].item())
    there = ~np.isnan(run.panel.close)
    number = np.searchsorted(days, session)
    first, last = there.argmax(axis=0), len(there) - 1 - there[::-1].argmax(axis=0)
    missing = np.where(there.any(axis=0), number[last] - number[first] + 1 - there.sum(axis=0), 0)
    lacking = np.flatnonzero(missing)
    if not len(lacking):
        return []
    shown = ", ".join(f"{run.panel.tickers[column]} {missing[column]}" for column in lacking[:_SENTENCES])
    more = f" and {len(lacking) - _SENTENCES} tickers more" if len(lacking) > _SENTENCES else ""
    return [f"sessions of {run.calendar} without a bar, between a ticker's first and last: {shown}{more}"]
