"""A series of bars cut into pieces, and what is suspect about a piece: it does not matter where it is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framework.data.attendance import Part, attendance
from framework.data.calendars import Sessions
from framework.data.findings import Finding
from framework.data.suspicions import REACH, suspicions
from framework.model.bars import Bars, CorporateAction

#: Gives the bars of one series from a moment to another, both included.
Read = Callable[[np.datetime64, np.datetime64], Bars]

#: So much time around what is judged: a week of FX has no edge inside it.
_MARGIN = np.timedelta64(8, "D")
_TICK = np.timedelta64(1, "us")
_BEGINNING, _END = np.datetime64("0001-01-01", "us"), np.datetime64("9999-12-31", "us")


@dataclass(frozen=True, eq=False)
class Piece:
    """Some bars of a series: ``first`` to ``stop`` (exclusive) are judged, and sessions that open in the same time.

    Attributes:
        bars: with enough around what is judged.
        first, stop: indices of bars.
        start, end: sessions that open from ``start`` on and before ``end``.
        until: up to when bars have been read.
    """

    bars: Bars
    first: int
    stop: int
    start: np.datetime64
    end: np.datetime64
    until: np.datetime64


def pieces(read: Read, begin: np.datetime64, last: np.datetime64, span: np.timedelta64) -> Iterator[Piece]:
    """A series cut into pieces; every bar, and every session, is judged in one of them.

    Args:
        read: gives the bars from a moment to another, both included.
        begin, last: the first and the last bar of the series.
        span: how much time is read at once.
    """
    kept = read(begin, begin - _TICK)
    first, start, low = 0, _BEGINNING, begin
    while low <= last:
        high = low + span
        bars = Bars.joined([kept, read(low, min(high - _TICK, last))])
        times, stop = bars.timestamps, len(bars)
        end = _END
        if high <= last:
            end = np.datetime64(min(high - _MARGIN, times[-REACH]), "us") if stop > REACH else start
            stop = int(times.searchsorted(end))
        low = high
        if end <= start:
            kept = bars  # too few yet to judge any
            continue
        yield Piece(bars, first, stop, start, end, min(high, last))
        keep = max(0, min(stop - REACH, int(times.searchsorted(end - _MARGIN))))
        kept, first, start = bars.take(np.arange(keep, len(bars))), stop - keep, end


def whole(bars: Bars) -> Piece:
    """All bars of one ticker, at least one, as one piece."""
    return Piece(bars, 0, len(bars), _BEGINNING, _END, bars.timestamps[-1])


def findings_of(
    piece: Piece,
    interval: str,
    known: Sessions | None,
    splits: Sequence[CorporateAction],
    begin: np.datetime64,
    last: np.datetime64,
) -> list[Finding]:
    """What is suspect about a piece of a series of one ticker.

    Args:
        piece: what is judged.
        interval: of the bars.
        known: sessions of the whole series; ``None``: it is not held against a calendar.
        splits: the ticker's.
        begin, last: the first and the last bar of the whole series.
    """
    bars, first, stop = piece.bars, piece.first, piece.stop
    found = suspicions(bars, dates_of(bars.timestamps, known, interval), interval, splits, first, stop)
    if known is not None:
        part = Part(first, stop, piece.start, piece.end, begin, last)
        found += attendance(bars.timestamps, interval, known, part)
    return found


def dates_of(times: NDArray[np.datetime64], known: Sessions | None, interval: str) -> NDArray[np.datetime64]:
    """The exchange date of each bar; where no session is known, its date in UTC."""
    if interval == "1d" or known is None:
        return times.astype("datetime64[D]")
    return known.dates[np.minimum(known.closes.searchsorted(times, side="right"), len(known.dates) - 1)]
