"""The statements of the market feed: bars of each ticker from a moment of its own, and what they are compared by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framework.data.calendars import outside_sessions, reading_span, sessions, timeline
from framework.data.window import BEGINNING, Column, Ints, LaterBar, Moment, union
from framework.db.bars_write import EPOCH
from framework.db.queries import fetch_all
from framework.db.types import Connection
from framework.model.bars import CorporateAction
from framework.model.panel import Floats, Times

TICK = np.timedelta64(1, "us")

_RECORD = np.dtype([("time", ">i8"), ("values", ">f8", (5,)), ("mark", ">i8")])


class Reading(NamedTuple):
    """What to read of one ticker: the bars from ``since``, and what tells whether those from ``first`` are the same."""

    ticker: str
    first: Moment
    since: Moment


class Found(NamedTuple):
    """What was read: number and sum of marks of the bars before, and the bars."""

    before: int
    marks: int
    column: Column

    def agrees(self, marks: Ints) -> bool:
        """Whether the bars before are those of ``marks``."""
        return (self.before, self.marks) == (len(marks), int(marks.sum()))


class BarReader:
    """Reads bars of one source, interval and calendar.

    Args:
        source: its key.
        interval: of the bars.
        calendar: name of the exchange calendar.
    """

    def __init__(self, source: str, interval: str, calendar: str) -> None:
        self._interval, self._calendar = interval, calendar
        self._asked = {"source": source, "bar_interval": interval}

    def read(self, connection: Connection, reads: Sequence[Reading], until: Moment) -> list[Found]:
        """What there is up to ``until``, in the order of ``reads``; all in one statement."""
        if not reads:
            return []
        asked = {
            **self._asked,
            "tickers": [reading.ticker for reading in reads],
            "first": [reading.first.item() for reading in reads],
            "since": [reading.since.item() for reading in reads],
            "until": until.item(),
        }
        rows = fetch_all(connection, "feed_bars", asked)
        packed = [bytes(row[2] or b"") for row in rows]
        records = np.frombuffer(b"".join(packed), dtype=_RECORD)
        times = EPOCH + records["time"].astype("timedelta64[us]")
        values, marks = records["values"].T.astype(np.float64), records["mark"].astype(np.int64)
        ends = np.cumsum([len(each) // _RECORD.itemsize for each in packed]).tolist()
        spans = [slice(start, stop) for start, stop in zip([0, *ends[:-1]], ends, strict=True)]
        every = union(times[span] for span in spans)
        outside = outside_sessions(self._calendar, self._interval, every)
        inside = ~outside[np.searchsorted(every, times)]
        return [
            Found(before, total, _column(times[span], values[:, span], marks[span], inside[span]))
            for (before, total, _), span in zip(rows, spans, strict=True)
        ]

    def newest(
        self, connection: Connection, tickers: Sequence[str], at: Moment, wanted: int, until: Moment
    ) -> dict[str, Column]:
        """Of each ticker the newest ``wanted`` bars that start at ``at`` or before, and all from there to ``until``."""
        if not tickers:
            return {}
        asked = {**self._asked, "tickers": list(tickers), "at": at.item(), "bars": wanted}
        starts = {ticker: np.datetime64(start, "us") for ticker, start in fetch_all(connection, "feed_starts", asked)}
        reads = [Reading(ticker, start := starts.get(ticker, BEGINNING), start) for ticker in tickers]
        found = self.read(connection, reads, until)
        return {
            ticker: replace(each.column, whole=ticker not in starts)
            for ticker, each in zip(tickers, found, strict=True)
        }

    def first_bars(
        self, connection: Connection, actions: Sequence[CorporateAction], as_of: date, until: Moment
    ) -> list[LaterBar | None]:
        """The bar that each action takes effect with: the ticker's first of sessions from the ex-date to ``as_of``.

        None starts after ``until``, the last moment of ``as_of``.
        """
        found: dict[int, LaterBar] = {}
        starts = {day: self._session_start(day, as_of) for day in {action.ex_date for action in actions}}
        pending = {n: start for n, action in enumerate(actions) if (start := starts[action.ex_date]) is not None}
        wanted = 4
        while pending:
            asked = {
                **self._asked,
                "numbers": list(pending),
                "tickers": [actions[n].ticker for n in pending],
                "since": [start.item() for start in pending.values()],
                "until": until.item(),
                "bars": wanted,
            }
            rows = fetch_all(connection, "feed_closes", asked)
            session = self._sessions_of([time for _, time, _ in rows])
            pending = {}
            for n, group in groupby(rows, key=lambda row: int(row[0])):
                bars = list(group)
                ex_date = np.datetime64(actions[n].ex_date, "D")
                acting = [bar for bar in bars if bar[1] in session and session[bar[1]] >= ex_date]
                if acting:
                    _, time, close = acting[0]
                    found[n] = LaterBar(np.datetime64(time, "us"), session[time], close)
                elif len(bars) == wanted:
                    pending[n] = np.datetime64(bars[-1][1], "us") + TICK
            wanted *= 4  # these lie outside sessions
        return [found.get(n) for n in range(len(actions))]

    def _sessions_of(self, moments: Sequence[datetime]) -> dict[datetime, np.datetime64]:
        """The session of each moment that lies in one."""
        times = np.unique(np.array(moments, dtype="datetime64[us]"))
        times = times[~outside_sessions(self._calendar, self._interval, times)]
        return dict(zip(times.tolist(), timeline(self._calendar, self._interval, times).session, strict=True))

    def _session_start(self, ex_date: date, as_of: date) -> Moment | None:
        """First possible start of a bar on or after an ex-date; ``None``: there is no session any more."""
        if ex_date > as_of or not len(sessions(self._calendar, ex_date, as_of)):
            return None
        begin, _ = reading_span(self._calendar, self._interval, ex_date, as_of)
        return np.datetime64(begin.replace(tzinfo=None), "us")


def _column(times: Times, values: Floats, marks: Ints, inside: NDArray[np.bool_]) -> Column:
    """Copies: a column must not keep the bytes of all the others in memory."""
    seen = times.copy()
    if inside.all():
        return Column(seen, values.copy(), seen, marks.copy(), whole=False)
    return Column(times[inside], values[:, inside], seen, marks.copy(), whole=False)


def joined(old: Column, since: Moment, new: Column) -> Column:
    """The bars of ``old`` before ``since``, then those of ``new``."""
    kept, seen = int(old.times.searchsorted(since)), int(old.seen.searchsorted(since))
    return replace(
        old,
        times=np.concatenate((old.times[:kept], new.times)),
        values=np.concatenate((old.values[:, :kept], new.values), axis=1),
        seen=np.concatenate((old.seen[:seen], new.seen)),
        marks=np.concatenate((old.marks[:seen], new.marks)),
    )
