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

from framework.data.adjust import factors
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
        trade: what is traded at; the same rows and columns, and the same object where the two do not differ.
        timeline: of the same rows.
        raw_close: shape ``(T, N)``: closes as traded.
        generation: of the feed that it was cut from: rises whenever a bar or an action in memory changed.
    """

    signal: Panel
    trade: Panel
    timeline: Timeline
    raw_close: Floats
    generation: int

    def fingerprint(self) -> str:
        """A hash of all that the strategy sees."""
        return fingerprint(self.signal)


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
    adjusted: dict[str, Floats] = field(default_factory=dict)


class Market:
    """What is known at one moment; any number of threads may cut windows from it."""

    def __init__(self, held: Held, now: Moment, interval: str, bars: int, trade_adjusted: bool) -> None:
        self._held, self._interval, self._bars, self._trade_adjusted = held, interval, bars, trade_adjusted
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
        traded = adjusted = np.full((len(FIELDS), len(times), len(tickers)), np.nan)
        if any(piece.adjusted is not piece.traded for piece in pieces):
            adjusted = traded.copy()
        for code, piece in enumerate(pieces):
            own = piece.times[piece.times.searchsorted(times[0]) :] if len(times) else times
            # Nearly always a ticker has all the bars.
            rows = slice(None) if len(own) == len(times) else times.searchsorted(own)
            first = len(piece.times) - len(own)
            traded[:, rows, code] = piece.traded[:, first:]
            if adjusted is not traded:
                adjusted[:, rows, code] = piece.adjusted[:, first:]
        at = held.clock.timestamps.searchsorted(times)
        clock = Timeline(times, *(getattr(held.clock, name)[at] for name in _MOMENTS))
        trade = signal = self._panel(tickers, times, traded)
        if adjusted is not traded:
            signal = self._panel(tickers, times, adjusted)
        return Window(signal, signal if self._trade_adjusted else trade, clock, trade.close, held.generation)

    def _panel(self, tickers: tuple[str, ...], times: Times, values: Floats) -> Panel:
        opens, highs, lows, closes, volumes = values
        return Panel(tickers, times, opens, highs, lows, closes, volumes, self._interval)

    def _piece(self, ticker: str) -> _Piece:
        """The newest known bars of a ticker, as many as the longest window has; all windows are made of these."""
        held = self._held
        found = held.pieces.get(ticker)
        if found is None or found[0] != self._last:
            column = held.columns[ticker]
            stop = column.known(self._last)
            rows = slice(max(0, stop - self._bars), stop)
            found = held.pieces[ticker] = self._last, _Piece(held, ticker, rows)
        return found[1]


class _Piece:
    """Some bars of a ticker: ``times`` of shape ``(K,)``; ``traded`` and ``adjusted`` of shape ``(5, K)``."""

    def __init__(self, held: Held, ticker: str, rows: slice) -> None:
        column = held.columns[ticker]
        self.times, self.traded = column.times[rows], column.values[:, rows]
        actions = held.actions.get(ticker, ())
        if not actions or not len(self.times):
            self.adjusted = self.traded
        elif held.final:
            found = held.adjusted.get(ticker)
            if found is None:
                found = held.adjusted[ticker] = _adjusted(
                    held.clock, column.times, column.values, actions, column.later
                )
            self.adjusted = found[:, rows]
        else:
            self.adjusted = _adjusted(held.clock, self.times, self.traded, actions)


def _adjusted(
    clock: Timeline, times: Times, values: Floats, actions: Sequence[CorporateAction], later: Sequence[LaterBar] = ()
) -> Floats:
    """Values as traded times the factors of the actions; ``values`` themselves where nothing acts."""
    session, close = clock.session[clock.timestamps.searchsorted(times)], values[_CLOSE]
    later = [bar for bar in later if bar.time > times[-1]]
    if later:
        session = np.concatenate((session, np.array([bar.session for bar in later])))
        close = np.concatenate((close, [bar.close for bar in later]))
    first, last = session[0].item(), session[-1].item()
    acting = [action for action in actions if first < action.ex_date <= last]
    if not acting:
        return values
    price, shares = (factor[: len(times)] for factor in factors(acting, session, close))
    adjusted = values * price
    adjusted[_VOLUME] = values[_VOLUME] * shares
    return adjusted


def empty(final: bool) -> Held:
    """What a feed holds before its first reading: no moment is late enough for it."""
    moments, dates = np.empty(0, dtype="datetime64[us]"), np.empty(0, dtype="datetime64[D]")
    clock = Timeline(moments, moments, moments, dates, dates)
    return Held(0, {}, (0, None), date.max, {}, {}, clock, BEGINNING, _NEVER, final)


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
