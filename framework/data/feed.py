"""The market window that live portfolios decide on: read from PostgreSQL bit by bit, shared by all of a process.

A refresh asks first whether anything changed since the last one, in one small statement. Only if so, or if the moment
lies outside what is in memory, bars are read: of a ticker whose version is new, those from a few bars before its
newest on; of the bars before these the database only says how many there are and the sum of their marks (the
transactions that wrote them). Where that is not what memory says, the ticker is read anew: no correction is missed,
however far back it lies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from threading import Lock

import numpy as np

from framework.data.adjust import Mode
from framework.data.calendars import STEPS, reading_span, timeline
from framework.data.feed_bars import TICK, BarReader, Reading, joined
from framework.data.source import DataSource
from framework.data.window import BEGINNING, Actions, Column, Held, LaterBar, Market, Moment, empty, last_known, union
from framework.db.market import read_corporate_actions, read_versions
from framework.db.queries import fetch_one
from framework.db.types import Connection
from framework.model.timeline import Timeline

__all__ = ["Feed"]

#: Bars of a ticker that are read again with those that are new.
OVERLAP = 5
#: Rows that are read beyond the asked moment, and kept beyond the oldest that is needed.
SLACK = 256
#: The same for a ticker whose bars change: each change has the database look at all that is kept.
MARGIN = 16

_KINDS: dict[Mode, tuple[str, ...]] = {"all": ("split", "dividend"), "splits": ("split",), "none": ()}
_LATEST = np.datetime64("9999-12-31T00:00:00", "us")

#: Sum of the versions of the bars, number and hash of the actions.
_Mark = tuple[int, int, int | None]


class Feed:
    """The newest bars of some tickers, kept up to date; safe for any number of threads.

    Args:
        source: whose bars, by its key; how long they settle, and whether they are adjusted already.
        tickers: all that any window will ask for.
        interval: of the bars.
        calendar: name of the exchange calendar; bars outside its sessions are dropped.
        mode: what to adjust for: ``all``, ``splits`` or ``none``.
        bars: rows that the longest window has.
        adjusted_as_of: adjust, at every moment, for all actions up to this exchange date, as the panel of a backtest
            that ends there is; bars of later sessions are not read. By default, for those that are ex at the moment.
    """

    def __init__(
        self,
        source: DataSource,
        tickers: Sequence[str],
        interval: str,
        calendar: str,
        mode: Mode,
        bars: int,
        *,
        adjusted_as_of: date | None = None,
    ) -> None:
        if bars < 1:
            raise ValueError(f"bars of a feed must be 1 at least, was {bars}")
        if not tickers or len(set(tickers)) != len(tickers):
            raise ValueError(f"tickers of a feed must be distinct, and one at least; was {list(tickers)!r}")
        self._source, self._interval, self._calendar, self._mode = source, interval, calendar, mode
        self._tickers, self._bars = tuple(tickers), bars
        self._kinds = () if source.price_kind() == "adjusted" else _KINDS[mode]
        self._as_of, self._last_ex_date = adjusted_as_of, adjusted_as_of or date.max
        self._end = None if adjusted_as_of is None else _last_moment(calendar, interval, adjusted_as_of)
        self._step = np.timedelta64(STEPS[interval], "us")
        self._bars_of = BarReader(source.key(), interval, calendar)
        self._lock = Lock()
        self._held = empty(final=adjusted_as_of is not None)

    def deeper(self, tickers: Sequence[str], bars: int) -> Feed:
        """The same for some tickers with longer windows: a feed of its own, for a single look further back."""
        return Feed(
            self._source,
            tickers,
            self._interval,
            self._calendar,
            self._mode,
            bars,
            adjusted_as_of=self._as_of,
        )

    def refresh(self, connection: Connection, now: datetime) -> Market:
        """Read what is new, and give the market as it is known at ``now``.

        Args:
            connection: in a transaction of isolation repeatable read, so that all is of one moment of the database.
            now: aware; may lie before that of an earlier refresh.

        Returns:
            the bars that are available at ``now``, none else. It never changes: windows are cut from it when the
            connection is given back.

        Raises:
            ValueError: ``now`` is not aware.
            ConfigError: the calendar does not know the dates of some bars.
            DatabaseError: reading failed; the next refresh reads again.
        """
        if now.tzinfo is None:
            raise ValueError(f"now must be aware, was {now!r}; use UTC")
        moment = np.datetime64(now.astimezone(UTC).replace(tzinfo=None), "us")
        since = self._held.actions_since
        mark = self._mark(connection, since)
        with self._lock:
            held = self._held
            if held.actions_since != since:
                mark = self._mark(connection, held.actions_since)
            if not self._serves(held, mark, moment):
                self._held = held = self._read(connection, held, mark, moment)
        return Market(held, moment, self._interval, self._bars)

    def _mark(self, connection: Connection, since: date) -> _Mark:
        asked = {"source": self._source.key(), "bar_interval": self._interval}
        row = fetch_one(connection, "feed_changes", {**asked, "tickers": list(self._tickers), "since": since})
        assert row is not None  # it aggregates
        return row[0], row[1], row[2]

    def _serves(self, held: Held, mark: _Mark, moment: Moment) -> bool:
        """Whether nothing has to be read."""
        # Versions only grow: a smaller sum is that of a reader whose transaction began before the last reading.
        same = mark[0] <= sum(held.versions.values()) and mark[1:] == held.actions_mark
        return same and bool(held.earliest <= moment) and bool(self._reach(moment) <= held.until)

    # Reading.

    def _read(self, connection: Connection, held: Held, mark: _Mark, moment: Moment) -> Held:
        versions = read_versions(connection, self._source.key(), self._interval, self._tickers)
        reach = self._reach(moment)
        far = moment < held.earliest or reach > held.until + self._bars * self._step
        until = held.until if reach <= held.until and not far else self._ahead(reach)
        changed = {ticker for ticker in self._tickers if far or versions.get(ticker) != held.versions.get(ticker)}
        columns = {} if far else self._newer(connection, held, changed, moment, until)
        columns, clock = self._long_enough(connection, columns, moment, until)
        first: date = clock.session[0].item() if len(clock) and self._kinds else date.max
        since = first if far else min(first, held.actions_since)
        if since != held.actions_since:
            mark = self._mark(connection, since)
        actions = held.actions
        if since != held.actions_since or mark[1:] != held.actions_mark:
            actions, changed = self._actions(connection, since), set(self._tickers)
        if self._as_of is not None:
            columns |= self._with_later(connection, {ticker: columns[ticker] for ticker in changed}, actions)
        return Held(
            generation=held.generation + 1,
            versions=versions,
            actions_mark=mark[1:],
            actions_since=since,
            actions=actions,
            columns=columns,
            clock=clock,
            until=until,
            earliest=self._earliest(columns.values(), clock),
            final=held.final,
            former=held.pieces,
        )

    def _reach(self, moment: Moment) -> Moment:
        """Up to where bars are needed."""
        return moment if self._end is None else min(moment, self._end)

    def _ahead(self, reach: Moment) -> Moment:
        """Up to where they are read: in a replay the next moments need no reading then."""
        return min(self._reach(reach + SLACK * self._step), _LATEST)

    def _newer(
        self, connection: Connection, held: Held, changed: set[str], moment: Moment, until: Moment
    ) -> dict[str, Column]:
        """What is held, brought up to date; without the tickers that have to be read anew."""
        last = last_known(held.clock, moment)
        columns, reads = dict(held.columns), []
        for ticker, column in held.columns.items():
            if ticker in changed:
                columns[ticker] = kept = self._pruned(column, last, MARGIN)
                first = BEGINNING if kept.whole else kept.seen[0]
                reads.append(Reading(ticker, first, kept.seen[-OVERLAP] if len(kept.seen) > OVERLAP else first))
            elif until > held.until:
                reads.append(Reading(ticker, held.until + TICK, held.until + TICK))
        for reading, found in zip(reads, self._bars_of.read(connection, reads, until), strict=True):
            column = columns.pop(reading.ticker)
            stays = int(column.seen.searchsorted(reading.since))
            if reading.first == reading.since or found.agrees(column.marks[:stays]):
                columns[reading.ticker] = joined(column, reading.since, found.column)
        return columns

    def _long_enough(
        self, connection: Connection, columns: dict[str, Column], moment: Moment, until: Moment
    ) -> tuple[dict[str, Column], Timeline]:
        """The columns with those that lack, or have too few known bars, read anew; and the clock of them all."""
        missing, wanted = [ticker for ticker in self._tickers if ticker not in columns], self._bars + OVERLAP
        while True:
            columns = columns | self._bars_of.newest(connection, missing, self._reach(moment), wanted, until)
            clock = self._clock(columns.values())
            last = last_known(clock, moment)
            missing = [t for t, column in columns.items() if not column.whole and column.known(last) < self._bars]
            if not missing:
                return {ticker: self._pruned(columns[ticker], last, SLACK) for ticker in self._tickers}, clock
            wanted *= 4  # most of what was read lies outside sessions: reach further back

    def _clock(self, columns: Iterable[Column]) -> Timeline:
        times = union(column.times for column in columns)
        return timeline(self._calendar, self._interval, times, self._source.settle_of(self._interval))

    def _pruned(self, column: Column, last: Moment, slack: int) -> Column:
        """Without the oldest rows, where there are many more than the needed and ``slack``."""
        drop = column.known(last) - self._bars - slack
        if drop < slack:
            return column
        before = int(column.seen.searchsorted(column.times[drop]))
        return replace(
            column,
            times=column.times[drop:].copy(),
            values=column.values[:, drop:].copy(),
            seen=column.seen[before:].copy(),
            marks=column.marks[before:].copy(),
            whole=False,
        )

    def _earliest(self, columns: Iterable[Column], clock: Timeline) -> Moment:
        newest = [column.times[self._bars - 1] for column in columns if not column.whole]
        if not newest:
            return BEGINNING
        earliest: Moment = clock.available[clock.timestamps.searchsorted(max(newest))]
        return earliest

    # Splits and dividends.

    def _actions(self, connection: Connection, since: date) -> Actions:
        """Those that adjust bars of sessions from ``since`` on, by ticker."""
        actions = read_corporate_actions(connection, self._source.key(), self._tickers)
        wanted = [each for each in actions if each.kind in self._kinds and since < each.ex_date <= self._last_ex_date]
        return {ticker: tuple(own) for ticker, own in groupby(wanted, key=lambda action: action.ticker)}

    def _with_later(self, connection: Connection, columns: Mapping[str, Column], actions: Actions) -> dict[str, Column]:
        """The columns with the bars that their actions take effect with, up to the feed's end."""
        assert self._as_of is not None
        assert self._end is not None
        asked = [action for ticker in columns for action in actions.get(ticker, ())]
        later: dict[str, dict[Moment, LaterBar]] = {ticker: {} for ticker in columns}
        for action, bar in zip(asked, self._bars_of.first_bars(connection, asked, self._as_of, self._end), strict=True):
            if bar is not None:
                later[action.ticker][bar.time] = bar
        return {
            ticker: replace(column, later=tuple(bar for _, bar in sorted(later[ticker].items())))
            for ticker, column in columns.items()
        }


def _last_moment(calendar: str, interval: str, as_of: date) -> Moment:
    """The last possible start of a bar of the sessions up to a date."""
    _, last = reading_span(calendar, interval, as_of - timedelta(days=31), as_of)
    return np.datetime64(last.replace(tzinfo=None), "us")
