"""The market as it is known at a moment, held in memory, and the windows of bars that are cut from it.

Nothing here does I/O, and no array is ever written to once it is in a :class:`Held`: what was handed out stays as it
was, whatever is read later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framework.data.adjust import Dates, factors
from framework.db.bars import fingerprint
from framework.errors import DataError
from framework.model.bars import CorporateAction
from framework.model.panel import FIELDS, Floats, Panel, Times
from framework.model.timeline import Timeline

Ints = NDArray[np.int64]
Moment = np.datetime64
Actions = Mapping[str, tuple[CorporateAction, ...]]

#: Before every bar.
BEGINNING = np.datetime64("0001-01-01T00:00:00", "us")
_NEVER = np.datetime64(2**63 - 1, "us")
_CLOSE, _VOLUME = FIELDS.index("close"), FIELDS.index("volume")
_MOMENTS = ("opens", "available", "session", "next_session")


@dataclass(frozen=True, eq=False)
class Window:
    """The newest bars that are known at a moment; none at all: no rows.

    Attributes:
        signal: adjusted as the config says: what strategies and indicators see.
        trade: as traded, which all is traded at; the same rows and columns, the same object where nothing differs.
        timeline: of the same rows.
        generation: of the feed that it was cut from: rises whenever a bar or an action in memory changed.
    """

    signal: Panel
    trade: Panel
    timeline: Timeline
    generation: int

    def fingerprint(self) -> str:
        """A hash of all that the strategy sees."""
        return fingerprint(self.signal)

    def cut(self, rows: int) -> Window:
        """The first rows."""
        if rows == len(self.signal):
            return self
        signal = self.signal.rows(0, rows)
        trade = signal if self.trade is self.signal else self.trade.rows(0, rows)
        return Window(signal, trade, self.timeline.rows(0, rows), self.generation)

    def before(self, day: date) -> Window:
        """The bars of sessions before a day."""
        return self.cut(int(self.timeline.session.searchsorted(np.datetime64(day, "D"))))


class LaterBar(NamedTuple):
    """The first bar of a ticker on or after an ex-date."""

    time: Moment
    session: np.datetime64
    close: float


@dataclass(frozen=True, eq=False)
class Column:
    """The bars of one ticker that are in memory.

    Attributes:
        times: shape ``(K,)``, ``datetime64[us]`` UTC, strictly rising: bars inside sessions.
        values: shape ``(5, K)``: open, high, low, close and volume as traded.
        seen: shape ``(S,)``: times of all bars that were read, those outside sessions too.
        marks: shape ``(S,)``: what tells a corrected bar from the one that was read.
        whole: whether the database has no bar before the first of ``seen``.
        later: bars that actions take effect with, where a replay has to know them ahead.
    """

    times: Times
    values: Floats
    seen: Times
    marks: Ints
    whole: bool
    later: tuple[LaterBar, ...] = ()

    def known(self, last: Moment) -> int:
        """How many of the bars start at ``last`` or before."""
        return int(self.times.searchsorted(last, side="right"))


@dataclass(frozen=True, eq=False)
class Held:
    """All that a feed has in memory, of one reading.

    Attributes:
        generation: how many times something was read.
        versions: of each ticker's bars, as of that reading.
        actions_mark: number and hash of all actions with an ex-date after ``actions_since``.
        actions: those that adjust, by ticker.
        columns: by ticker.
        clock: of all the bars' times.
        until: every bar that starts no later is in memory.
        earliest: the first moment for which enough bars are in memory.
        final: whether bars are adjusted for what comes after them, too.
        lock: is held to use what follows: what was cut last, to be used again.
        windows: by tickers and rows, with the newest bar's start.
        pieces: by ticker, with the newest bar's start.
        former: the pieces of the reading before.
        adjusted: all of a column, where ``final``.
    """

    generation: int
    versions: Mapping[str, int]
    actions_mark: tuple[int, int | None]
    actions_since: date
    actions: Actions
    columns: Mapping[str, Column]
    clock: Timeline
    until: Moment
    earliest: Moment
    final: bool
    lock: Lock = field(default_factory=Lock)
    windows: dict[tuple[tuple[str, ...], int], tuple[Moment, Window]] = field(default_factory=dict)
    pieces: dict[str, tuple[Moment, _Piece]] = field(default_factory=dict)
    former: Mapping[str, tuple[Moment, _Piece]] = field(default_factory=dict)
    adjusted: dict[str, Floats] = field(default_factory=dict)


class Market:
    """What is known at one moment; any number of threads may cut windows from it."""

    def __init__(self, held: Held, now: Moment, interval: str, bars: int) -> None:
        self._held, self._interval, self._bars = held, interval, bars
        self._last = last_known(held.clock, now)

    @property
    def generation(self) -> int:
        """Rises whenever a bar or an action in memory changed."""
        return self._held.generation

    def window(self, tickers: Sequence[str], bars: int) -> Window:
        """The newest bars of some tickers; the same object when asked again.

        Args:
            tickers: distinct, of the feed: the columns, in this order. Rows are the moments at which one of them has
                a bar; one without bars is a column of NaN.
            bars: rows at most, from 1 to the feed's.

        Raises:
            DataError: a ticker is not the feed's, or an action that adjusts is unusable.
        """
        key = tuple(tickers), bars
        self._check(*key)
        held = self._held
        with held.lock:
            found = held.windows.get(key)
            if found is None or found[0] != self._last:
                found = held.windows[key] = self._last, self._cut(*key)
        return found[1]

    def last_closes(self, tickers: Iterable[str]) -> dict[str, float]:
        """The last close that is known of each ticker, however old, at the prices of ``window(...).trade``."""
        found = {}
        with self._held.lock:
            for ticker in tickers:
                piece = self._piece(ticker)
                if len(piece.times):
                    found[ticker] = float(piece.traded[_CLOSE, -1])
        return found

    def last_sessions(self, tickers: Iterable[str]) -> dict[str, date]:
        """The session of the last bar that is known of each ticker, however old."""
        found = {}
        with self._held.lock:
            for ticker in tickers:
                times = self._piece(ticker).times
                if len(times):
                    found[ticker] = self._held.clock.session[rows_of(self._held.clock, times[-1:])][0].item()
        return found

    def _check(self, tickers: tuple[str, ...], bars: int) -> None:
        if not 1 <= bars <= self._bars:
            raise ValueError(f"bars was {bars}; this feed keeps {self._bars}, allowed: 1 to {self._bars}")
        if not tickers or len(set(tickers)) != len(tickers):
            raise ValueError(f"tickers of a window must be distinct, and one at least; was {list(tickers)!r}")
        unknown = [ticker for ticker in tickers if ticker not in self._held.columns]
        if unknown:
            raise DataError(f"the market feed does not read {', '.join(unknown)}; name all tickers when it is made")

    def _cut(self, tickers: tuple[str, ...], bars: int) -> Window:
        held = self._held
        pieces = [self._piece(ticker) for ticker in tickers]
        times = union(piece.times[-bars:] for piece in pieces)[-bars:]
        traded = adjusted = _table(times, [(piece.times, piece.traded) for piece in pieces])
        if any(piece.adjusted is not piece.traded for piece in pieces):
            adjusted = _table(times, [(piece.times, piece.adjusted) for piece in pieces])
        rows = rows_of(held.clock, times)
        clock = Timeline(times, *(getattr(held.clock, name)[rows] for name in _MOMENTS))
        trade = signal = self._panel(tickers, times, traded)
        if adjusted is not traded:
            signal = self._panel(tickers, times, adjusted)
        return Window(signal, trade, clock, held.generation)

    def _panel(self, tickers: tuple[str, ...], times: Times, values: Floats) -> Panel:
        opens, highs, lows, closes, volumes = values
        return Panel(tickers, times, opens, highs, lows, closes, volumes, self._interval)

    def _piece(self, ticker: str) -> _Piece:
        """The newest known bars of a ticker, as many as the longest window has; all windows are made of these."""
        held = self._held
        found = held.pieces.get(ticker)
        if found is None or found[0] != self._last:
            stop = held.columns[ticker].known(self._last)
            rows = slice(max(0, stop - self._bars), stop)
            former = found or held.former.get(ticker)
            piece = _piece(held, ticker, rows, former[1] if former else None)
            found = held.pieces[ticker] = self._last, piece
        return found[1]


@dataclass(frozen=True, eq=False)
class _Piece:
    """Some bars of a ticker.

    Attributes:
        times: shape ``(K,)``.
        traded: shape ``(5, K)``.
        adjusted: shape ``(5, K)``; the same object as ``traded`` where nothing is adjusted.
        acting: the actions that do.
    """

    times: Times
    traded: Floats
    adjusted: Floats
    acting: tuple[CorporateAction, ...] = ()

    def carried(self, times: Times, traded: Floats, acting: tuple[CorporateAction, ...]) -> Floats | None:
        """The adjusted values of newer bars, if all that is new are bars at the end; else ``None``."""
        kept = int(times.searchsorted(self.times[-1], side="right")) if len(self.times) else 0
        if not kept or not acting or acting != self.acting or not np.array_equal(self.times[-kept:], times[:kept]):
            return None
        if not np.array_equal(self.traded[:, -kept:], traded[:, :kept]):
            return None
        return np.concatenate((self.adjusted[:, -kept:], traded[:, kept:]), axis=1)


def _table(times: Times, parts: Sequence[tuple[Times, Floats]]) -> Floats:
    """The newest bars of some tickers, shape ``(5, T, N)``: NaN where a ticker has none at one of these times."""
    starts = [int(own.searchsorted(times[0])) if len(times) else len(own) for own, _ in parts]
    # Nearly always every ticker has all the bars.
    if all(len(own) - start == len(times) for (own, _), start in zip(parts, starts, strict=True)):
        return np.stack([values[:, start:] for (_, values), start in zip(parts, starts, strict=True)], axis=2)
    table = np.full((len(FIELDS), len(times), len(parts)), np.nan)
    for code, ((own, values), start) in enumerate(zip(parts, starts, strict=True)):
        table[:, times.searchsorted(own[start:]), code] = values[:, start:]
    return table


def _piece(held: Held, ticker: str, rows: slice, former: _Piece | None) -> _Piece:
    column, actions = held.columns[ticker], held.actions.get(ticker, ())
    times, traded = column.times[rows], column.values[:, rows]
    if not actions or not len(times):
        return _Piece(times, traded, traded)
    if held.final:
        if ticker not in held.adjusted:
            held.adjusted[ticker] = _final(held.clock, column, actions)
        return _Piece(times, traded, held.adjusted[ticker][:, rows])
    session = held.clock.session[rows_of(held.clock, times)]
    acting = _acting(actions, session)
    adjusted = former.carried(times, traded, acting) if former is not None else None
    if adjusted is None:
        adjusted = _adjusted(traded, acting, session, traded[_CLOSE])
    return _Piece(times, traded, adjusted, acting)


def _acting(actions: Sequence[CorporateAction], session: Dates) -> tuple[CorporateAction, ...]:
    """The actions that adjust some bar of these sessions."""
    first, last = session[0].item(), session[-1].item()
    return tuple(action for action in actions if first < action.ex_date <= last)


def _final(clock: Timeline, column: Column, actions: Sequence[CorporateAction]) -> Floats:
    """All bars of a column, adjusted for what comes after them, too."""
    session, close = clock.session[rows_of(clock, column.times)], column.values[_CLOSE]
    later = [bar for bar in column.later if bar.time > column.times[-1]]
    if later:
        session = np.concatenate((session, np.array([bar.session for bar in later])))
        close = np.concatenate((close, [bar.close for bar in later]))
    return _adjusted(column.values, _acting(actions, session), session, close)


def _adjusted(values: Floats, acting: Sequence[CorporateAction], session: Dates, close: Floats) -> Floats:
    """Values as traded times the factors of the actions; ``values`` themselves where nothing acts."""
    if not acting:
        return values
    price, shares = (factor[: values.shape[1]] for factor in factors(acting, session, close))
    adjusted = values * price
    adjusted[_VOLUME] = values[_VOLUME] * shares
    return adjusted


def empty(final: bool) -> Held:
    """What a feed holds before its first reading: no moment is late enough for it."""
    moments, dates = np.empty(0, dtype="datetime64[us]"), np.empty(0, dtype="datetime64[D]")
    clock = Timeline(moments, moments, moments, dates, dates)
    return Held(0, {}, (0, None), date.max, {}, {}, clock, BEGINNING, _NEVER, final)


def rows_of(clock: Timeline, times: Times) -> slice | NDArray[np.intp]:
    """Where some of a clock's moments, rising, are in it."""
    if not len(times):
        return slice(0)
    first = int(clock.timestamps.searchsorted(times[0]))
    stop = first + len(times)
    if stop <= len(clock) and clock.timestamps[stop - 1] == times[-1]:  # then all between are the same, too
        return slice(first, stop)
    return clock.timestamps.searchsorted(times)


def last_known(clock: Timeline, now: Moment) -> Moment:
    """Start of the newest bar that is available at a moment; before every bar where there is none."""
    rows = int(clock.available.searchsorted(now, side="right"))
    last: Moment = clock.timestamps[rows - 1] if rows else BEGINNING
    return last


def union(parts: Iterable[Times]) -> Times:
    """The distinct moments of several rising arrays, rising."""
    # Most tickers have bars at the same moments: only what differs is merged.
    distinct = list({part.tobytes(): part for part in parts}.values())
    if len(distinct) == 1:
        return distinct[0]
    return np.unique(np.concatenate(distinct)) if distinct else np.empty(0, dtype="datetime64[us]")
