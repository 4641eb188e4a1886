"""Stored bars beside their neighbours: prices that jump and come back, splits, bars that repeat.

Nothing here looks further than :data:`REACH` bars to either side, so that it does not matter where a series is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from framework.data.findings import EXAMPLES, Finding, Rows, of_rows
from framework.model.bars import Bars, CorporateAction
from framework.model.panel import Floats

Mask = NDArray[np.bool_]
Dates = NDArray[np.datetime64]

#: How many bars to either side may matter to what is said of a bar.
REACH = 1000

#: A move is unusual if it is so many times what nine of ten moves nearby stay below; and at least this, as a logarithm.
_TIMES_USUAL = 5.0
_NEARBY = 20
_DAILY_JUMP, _INTRADAY_JUMP = log(1.25), log(1.08)
#: A high or low alone reaches further: it may be one trade.
_WICK = 2.0
#: A spike lasts so many bars at most, and leaves so much of itself behind.
_LONGEST_SPIKE = 3
_STAYS_BACK = 0.35

_RATIOS = (1.5, 2, 3, 4, 5, 7, 10, 20)
#: How near to the ratio open and close of the first bar lie, as logarithms: a day may go far after its open, and a
#: crash by half rarely opens so near.
_NEAR_OPEN, _NEAR_CLOSE = 0.03, 0.12
#: Trading that a split does not explain: so many times the usual turnover.
_CRASH_TURNOVER = 4.0
_HUNDREDFOLD, _NEAR_HUNDRED = log(100), 0.1
#: Splits below 6:5 are too like other moves to tell whether they had an effect.
_SMALLEST_SPLIT = log(1.2)
#: Over a longer gap between two bars nothing is said of a jump.
_LONGEST_GAP = np.timedelta64(10, "D")

#: So many repeats are suspect: of a bar with a range, of one without, and of the close alone.
_REPEATS = {"1d": (1, 4, 20), "1min": (2, 30, 780), "5min": (2, 20, 156)}
_FEWER_REPEATS = (2, 10, 60)


@dataclass(frozen=True, eq=False)
class _Walk:
    """Logarithms of prices, splits that had an effect taken out.

    Attributes:
        open, high, low, close: shape ``(K,)``.
        move: shape ``(K,)``: from close to close; 0 for the first.
        floor: what no usual move reaches.
    """

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    move: Floats
    floor: float

    def limit(self, rows: Rows) -> Floats:
        """What a move at each of these bars has to exceed to be unusual."""
        limits = np.full(len(rows), self.floor)
        count = len(self.move)
        width = min(2 * _NEARBY + 1, count - 1)
        # A spike is two moves itself: where there are few others, those are left out all the same.
        ninth = max(0, min(int(0.9 * (width - 1)), width - 5))
        for start in range(0, len(rows), 50_000):
            some = rows[start : start + 50_000]
            nearby = np.clip(some - _NEARBY, 1, count - width)[:, None] + np.arange(width)
            usual = np.partition(np.abs(self.move[nearby]), ninth, axis=1)[:, ninth]
            limits[start : start + 50_000] = np.maximum(self.floor, _TIMES_USUAL * usual)
        return limits


def suspicions(
    bars: Bars, dates: Dates, interval: str, splits: Sequence[CorporateAction], first: int, stop: int
) -> list[Finding]:
    """What is suspect about bars ``first`` to ``stop`` (exclusive) of one ticker.

    Args:
        bars: of one ticker, rising; with :data:`REACH` bars around what is judged, where there are any.
        dates: shape ``(K,)``, ``datetime64[D]``: the exchange date of each bar.
        interval: of the bars.
        splits: the ticker's, all that are known; other actions are not looked at.
        first, stop: which bars are judged.
    """
    if len(bars) < 2:
        return []
    known = _known_splits(bars, dates, splits)
    walk = _walk(bars, {row: value for row, (value, has_effect) in known.items() if has_effect}, interval)
    jumps = np.flatnonzero(np.abs(walk.move) > walk.floor)
    spikes = _spikes(walk, jumps)
    idle = [row for row, (_, has_effect) in known.items() if not has_effect and first <= row < stop]
    found = of_rows(
        "split without effect",
        np.array(idle, dtype=np.intp),
        bars.timestamps,
        lambda row: _move(bars, row, known[row][0]),
    )
    judged = np.arange(first, stop)
    found += of_rows("spike", judged[spikes[first:stop]], bars.timestamps, lambda row: _values(bars, row))
    stale = _stale(bars, interval)
    found += of_rows("stale", judged[stale[first:stop]], bars.timestamps, lambda row: _values(bars, row))
    jumps = jumps[(jumps >= first) & (jumps < stop)]
    return found + _steps(bars, dates, interval, walk, jumps[~np.isin(jumps, list(known))], spikes)


def _known_splits(bars: Bars, dates: Dates, splits: Sequence[CorporateAction]) -> dict[int, tuple[float, bool]]:
    """The first bar of each split, its value, and whether the price moved by it."""
    found: dict[int, tuple[float, bool]] = {}
    for split in splits:
        row = int(dates.searchsorted(np.datetime64(split.ex_date, "D")))
        if split.kind != "split" or not 0 < row < len(bars) or split.value <= 0:
            continue
        value = float(split.value) * found.get(row, (1.0, True))[0]
        near = abs(log(value)) >= _SMALLEST_SPLIT and dates[row] - dates[row - 1] <= _LONGEST_GAP
        moved = log(bars.close[row - 1] / bars.open[row])
        found[row] = value, not near or abs(moved - log(value)) <= abs(moved)
    return found


def _walk(bars: Bars, effective: dict[int, float], interval: str) -> _Walk:
    level = np.zeros(len(bars))
    for row, value in effective.items():
        level[row:] += log(value)
    prices = [np.log(prices) + level for prices in (bars.open, bars.high, bars.low, bars.close)]
    opens, highs, lows, closes = prices
    floor = _DAILY_JUMP if interval == "1d" else _INTRADAY_JUMP
    return _Walk(opens, highs, lows, closes, np.diff(closes, prepend=closes[0]), floor)


def _spikes(walk: _Walk, jumps: Rows) -> Mask:
    """Bars whose prices leave their neighbours and come back."""
    count = len(walk.close)
    found = np.zeros(count, dtype=np.bool_)
    limit = walk.limit(jumps)
    for length in range(1, _LONGEST_SPIKE + 1):
        fits = (jumps >= 1) & (jumps + length < count)
        rows, least = jumps[fits], limit[fits]
        away = np.stack([walk.close[rows + n] - walk.close[rows - 1] for n in range(length)])
        nearest = np.abs(away).min(axis=0)
        back = np.abs(walk.close[rows + length] - walk.close[rows - 1])
        one_side = np.abs(np.sign(away).sum(axis=0)) == length
        hit = rows[one_side & (nearest > least) & (back < _STAYS_BACK * nearest)]
        for n in range(length):
            found[hit + n] = True
    inner = np.arange(1, count - 1)
    over = walk.high[1:-1] - np.maximum.reduce([walk.high[:-2], walk.high[2:], walk.close[1:-1]])
    under = np.minimum.reduce([walk.low[:-2], walk.low[2:], walk.close[1:-1]]) - walk.low[1:-1]
    reach = np.maximum(over, under)
    far = np.flatnonzero(reach > _WICK * walk.floor)
    found[inner[far[reach[far] > _WICK * walk.limit(inner[far])]]] = True
    return found


def _steps(bars: Bars, dates: Dates, interval: str, walk: _Walk, jumps: Rows, spikes: Mask) -> list[Finding]:
    """Jumps between two sessions that stay: by the ratio of a split, or a hundredfold."""
    count = len(bars)
    rows = jumps[(jumps + _LONGEST_SPIKE < count) & ~spikes[jumps] & ~spikes[jumps - 1]]
    gap = dates[rows] - dates[rows - 1]
    rows = rows[(gap > np.timedelta64(0, "D")) & (gap <= _LONGEST_GAP)]
    after = np.median(np.stack([walk.close[rows + n] for n in range(1, _LONGEST_SPIKE + 1)]), axis=0)
    rows = rows[np.abs(after - walk.close[rows]) < np.abs(walk.move[rows]) / 3]
    rows = rows[np.abs(walk.move[rows]) > walk.limit(rows)]
    at_open, at_close = walk.open[rows] - walk.close[rows - 1], walk.move[rows]
    ratios = np.log(np.array(_RATIOS))
    ratios = np.concatenate((ratios, -ratios))
    near_close = _NEAR_CLOSE if interval == "1d" else _NEAR_OPEN
    near = (np.abs(at_open[:, None] + ratios) < _NEAR_OPEN) & (np.abs(at_close[:, None] + ratios) < near_close)
    split = near.any(axis=1) & (_turnover(bars, rows, interval) < _CRASH_TURNOVER)
    hundred = np.abs(np.abs(at_close) - _HUNDREDFOLD) < _NEAR_HUNDRED
    return [
        *_told("unadjusted split", bars, rows[split], [_ratio(ratios[each][0]) for each in near[split]]),
        *_told("currency mismatch", bars, rows[hundred], ["a hundredfold"] * int(hundred.sum())),
    ]


def _turnover(bars: Bars, rows: Rows, interval: str) -> Floats:
    """Money traded with the jump, as a multiple of the usual before it; 1 where that cannot be told."""
    usual = np.ones(len(rows))
    if interval != "1d" or not len(rows):
        return usual  # the first minutes of a session have their own usual
    money = bars.close * bars.volume
    before = np.clip(rows[:, None] - np.arange(1, _NEARBY + 1), 0, None)
    median = np.median(money[before], axis=1)
    np.divide(money[rows], median, out=usual, where=median > 0)
    return usual


def _stale(bars: Bars, interval: str) -> Mask:
    """Bars that repeat the one before, and runs of one close."""
    with_range, without, of_close = _REPEATS.get(interval, _FEWER_REPEATS)
    held = bars.close[1:] == bars.close[:-1]
    same = held.copy()
    for name in ("open", "high", "low", "volume"):
        values = getattr(bars, name)
        same &= values[1:] == values[:-1]
    found = np.zeros(len(bars), dtype=np.bool_)
    if not held.any():
        return found
    is_flat, is_traded = bars.high[1:] == bars.low[1:], bars.volume[1:] > 0
    repeats = _run(same)
    found[1:] = same & is_traded & np.where(is_flat, repeats >= without, repeats >= with_range)
    found[1:] |= _run(held) >= of_close
    return found


def _run(mask: Mask) -> NDArray[np.int64]:
    """Shape as ``mask``: how many in a row are set, around each that is; 0 for the others."""
    number = np.cumsum(~mask)
    lengths: NDArray[np.int64] = np.bincount(number[mask], minlength=int(number[-1]) + 1)
    return np.where(mask, lengths[number], 0)


def _told(code: str, bars: Bars, rows: Rows, words: Sequence[str]) -> list[Finding]:
    """A finding that points at a moment, though no bar alone is wrong."""
    if not len(rows):
        return []
    first = zip(rows[:EXAMPLES], words, strict=False)
    return [
        Finding(code, len(rows), tuple((bars.timestamps[row], f"{_closes(bars, row)}, {word}") for row, word in first))
    ]


def _ratio(logarithm: float) -> str:
    ratio = round(float(np.exp(abs(logarithm))), 1)
    new, old = ("3", "2") if ratio == 1.5 else (f"{ratio:g}", "1")
    return f"{new} for {old}" if logarithm > 0 else f"{old} for {new}"


def _move(bars: Bars, row: int, value: float) -> str:
    return f"{_closes(bars, row)}, split of {value:g} for 1"


def _closes(bars: Bars, row: int) -> str:
    return f"close {bars.close[row - 1]:.10g} to {bars.close[row]:.10g}"


def _values(bars: Bars, row: int) -> str:
    shown = ", ".join(f"{name} {getattr(bars, name)[row]:.10g}" for name in ("open", "high", "low", "close", "volume"))
    return f"{shown}; close before {bars.close[row - 1]:.10g}" if row else shown
