"""Bars of one ticker for tests of the checks: random walks on a calendar, and what is found about them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date
from functools import lru_cache

import numpy as np

from framework.data.calendars import STEPS, Sessions, covering
from framework.data.pieces import findings_of, pieces
from framework.model.bars import Bars
from tests.standins.fmp_data import minutes_of

ALL = np.timedelta64(100_000, "D")
SPAN = date(2004, 1, 1), date(2006, 12, 31)


@lru_cache
def sessions(calendar: str = "XNYS") -> Sessions:
    return covering(calendar, *SPAN)


def moments(first: int, count: int, interval: str = "1d", calendar: str = "XNYS"):
    """When bars start, of ``count`` sessions from session number ``first`` on."""
    known = sessions(calendar).between(first, first + count)
    if interval == "1d":
        return known.dates.astype("datetime64[us]")
    step = np.timedelta64(STEPS[interval], "us")
    parts = []
    for opens, closes, pause, again in zip(
        known.opens, known.closes, known.break_starts, known.break_ends, strict=True
    ):
        own = np.arange(opens, closes, step)
        parts.append(own if np.isnat(pause) else own[(own < pause) | (own + step > again)])
    return np.concatenate(parts)


def walk(times, sigma: float = 0.02, seed: int = 1, start: float = 50.0) -> Bars:
    """A random walk in cents, with every bar another."""
    rng = np.random.default_rng(seed)
    count = len(times)
    moves = np.clip(rng.normal(0, sigma, count), -3 * sigma, 3 * sigma)
    close = start * np.exp(np.cumsum(moves) - np.linspace(0, np.sum(moves), count))
    opens = np.concatenate(([start], close[:-1])) * np.exp(rng.normal(0, sigma / 5, count))
    high = np.maximum(opens, close) * (1 + rng.uniform(0, sigma / 2, count))
    low = np.minimum(opens, close) * (1 - rng.uniform(0, sigma / 2, count))
    volume = np.round(rng.uniform(1e5, 2e5, count))
    return Bars(("AAA",), np.zeros(count, dtype=np.int32), times, opens, high, low, close, volume)


def scaled(bars: Bars, factor) -> Bars:
    """All prices times ``factor``, one or one per bar."""
    return replace(bars, **{name: getattr(bars, name) * factor for name in ("open", "high", "low", "close")})


def without(bars: Bars, gone) -> Bars:
    """The bars but those of a mask or of some indices."""
    keep = np.ones(len(bars), dtype=bool)
    keep[gone] = False
    return bars.take(keep)


def minutes_from_standin(ticker: str, days: int) -> Bars:
    """What the stand-in of FMP has, from 2005-01-03 on."""
    dates = sessions().dates
    found = [minutes_of(ticker, day.item()) for day in dates[dates >= np.datetime64("2005-01-03")][:days]]
    parts = [each for each in found if each is not None]
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("open", "high", "low", "close", "volume")
    }
    times = np.concatenate([part.starts for part in parts]).astype("datetime64[s]").astype("datetime64[us]")
    return Bars((ticker,), np.zeros(len(times), dtype=np.int32), times, **columns)


def look(bars: Bars, interval="1d", calendar="XNYS", splits=(), span=ALL, known=None):
    """What is found, with the series cut into pieces of ``span``: how many by code, and the suspect moments."""
    times = bars.timestamps

    def read(start, end):
        return bars.take((times >= start) & (times <= end))

    counts: Counter[str] = Counter()
    suspect: dict[str, list[object]] = {}
    for piece in pieces(read, times[0], times[-1], span):
        for finding in findings_of(piece, interval, known or sessions(calendar), splits, times[0], times[-1]):
            counts[finding.code] += finding.count
            suspect.setdefault(finding.code, []).extend(piece.bars.timestamps[finding.rows].tolist())
    return counts, {code: rows for code, rows in suspect.items() if rows}
