"""The prices behind the stand-in of FMP: real days of the sample, and what is made up of them, always the same.

Symbols: the sample's five; ``S000`` … ``S999``, each the days of AAPL, IBM or MSFT at another scale; the pairs of
:data:`PAIRS`, around the clock on weekdays; ``BTCUSD``, always; ``TTE.PA``, days of Paris in euros.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from framework.plugins.data_sources.sample import Sample
from numpy.typing import NDArray

from framework.data.calendars import covering

FIRST, LAST = date(1990, 1, 1), date(2020, 12, 31)
NEW_YORK = ZoneInfo("America/New_York")
SAMPLE = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
#: Pairs, with the price about which they move, and their decimals.
PAIRS = {"EURUSD": (1.2, 5), "GBPUSD": (1.6, 5), "USDJPY": (105.0, 3), "EURGBP": (0.75, 5)}
CRYPTO = {"BTCUSD": (9000.0, 2)}
FOREIGN = {"TTE.PA": (45.0, 2)}
MADE_UP = PAIRS | CRYPTO | FOREIGN
_SCALED = re.compile(r"S(\d{3})")
_MADE_UP_FIRST, _MADE_UP_LAST = date(2000, 1, 3), date(2013, 12, 31)
_EVENING_HOURS = 7  # the day of pairs begins so long before midnight in New York

Floats = NDArray[np.float64]
#: What the source has corrected later: factors of a day's prices.
Changed = tuple[tuple[date, float], ...]


@dataclass(frozen=True, eq=False)
class Days:
    """Daily bars, oldest first, as traded; ``adjusted``: closes, adjusted for splits and dividends."""

    dates: NDArray[np.datetime64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    adjusted: Floats

    def at(self, day: date) -> int:
        """How many days there are up to this one."""
        return int(np.searchsorted(self.dates, np.datetime64(day, "D"), side="right"))

    def times(self, factor: float | Floats) -> Days:
        """All prices times something."""
        names = ("open", "high", "low", "close")
        prices = {name: np.round(getattr(self, name) * factor, 4) for name in names}
        return replace(self, **prices, adjusted=self.adjusted * factor)


@dataclass(frozen=True, eq=False)
class Minutes:
    """The minutes of a day, oldest first; ``starts`` in seconds since 1970, UTC."""

    starts: NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.starts)

    def times(self, factor: float) -> Minutes:
        """All prices times something."""
        names = ("open", "high", "low", "close")
        return replace(self, **{name: np.round(getattr(self, name) * factor, 4) for name in names})

    def until(self, now: float) -> Minutes:
        """Those that have begun before ``now``; the last as far as it has come."""
        count = int(np.searchsorted(self.starts, now))
        part = Minutes(*(column[:count].copy() for column in vars(self).values()))
        if count and part.starts[-1] + 60 > now:
            done = (now - part.starts[-1]) / 60.0
            part.close[-1] = round(part.open[-1] + (part.close[-1] - part.open[-1]) * done, 4)
            part.high[-1], part.low[-1] = max(part.open[-1], part.close[-1]), min(part.open[-1], part.close[-1])
            part.volume[-1] = int(part.volume[-1] * done)
        return part


def origin(symbol: str) -> tuple[str, float]:
    """The sample's ticker whose days these are, and at which scale; no ticker: not of the sample."""
    if symbol in SAMPLE:
        return symbol, 1.0
    found = _SCALED.fullmatch(symbol)
    return (("AAPL", "IBM", "MSFT")[int(found[1]) % 3], 0.5 + int(found[1]) / 400) if found else ("", 1.0)


def all_symbols() -> tuple[str, ...]:
    """Every one."""
    return (*SAMPLE, *(f"S{number:03}" for number in range(1000)), *MADE_UP)


def exchange(symbol: str) -> str:
    """Its exchange, as the API writes it."""
    if symbol in PAIRS:
        return "FOREX"
    if symbol in CRYPTO:
        return "CRYPTO"
    if symbol in FOREIGN:
        return "PAR"
    return "NYSE" if symbol == "IBM" or (symbol[1:].isdigit() and int(symbol[1:]) % 2) else "NASDAQ"


@lru_cache(maxsize=1100)
def days(symbol: str, changed: Changed = ()) -> Days | None:
    """Its daily bars; ``None``: nobody knows it."""
    if changed:
        found = days(symbol)
        return None if found is None else found.times(_factors(found, dict(changed)))
    base, scale = origin(symbol)
    if base:
        return _sampled(base) if scale == 1.0 else _sampled(base).times(scale)
    return _made_up(symbol) if symbol in MADE_UP else None


def _factors(found: Days, changed: Mapping[date, float]) -> Floats:
    return np.array([changed.get(day, 1.0) for day in found.dates.tolist()])


@cache
def _sampled(ticker: str) -> Days:
    table = Sample()._table
    rows = table.code == table.index(ticker)
    return Days(table.dates[rows], *table.cells[rows].T)


@cache
def _actions(ticker: str, kind: str) -> tuple[tuple[date, float], ...]:
    found = Sample().corporate_actions([ticker])
    return tuple((each.ex_date, float(each.value)) for each in found if each.kind == kind)


def actions(symbol: str, kind: str) -> tuple[tuple[date, float], ...]:
    """Its splits or dividends as paid, oldest first."""
    base, scale = origin(symbol)
    found = _actions(base, kind) if base else ()
    return found if kind == "split" else tuple((day, round(value * scale, 6)) for day, value in found)


def split_ratio(symbol: str, day: date) -> float:
    """Shares of today per share of that day."""
    return float(np.prod([value for ex, value in actions(symbol, "split") if day < ex] or [1.0]))


def minutes_of(symbol: str, day: date, changed: Changed = ()) -> Minutes | None:
    """The minutes of a calendar day in New York: of a stock, its session; of pairs and crypto, round the clock."""
    if symbol in PAIRS or symbol in CRYPTO:
        return _times(_path_of(symbol, *(midnight(each) for each in (day, day + timedelta(days=1)))), day, changed)
    base, scale = origin(symbol)
    found = _session(base, day) if base else None
    return _times(found, day, changed, scale)


def day_minutes(symbol: str, day: date, changed: Changed = ()) -> Minutes | None:
    """The minutes that make the daily bar of this date."""
    if symbol in PAIRS:
        return _times(_path_of(symbol, _evening(day), _evening(day) + 86_400), day, changed)
    if symbol in CRYPTO:
        begun = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
        return _times(_path_of(symbol, begun, begun + 86_400), day, changed)
    return minutes_of(symbol, day, changed)


def _times(found: Minutes | None, day: date, changed: Changed, scale: float = 1.0) -> Minutes | None:
    factor = scale * dict(changed).get(day, 1.0)
    return found if found is None or factor == 1.0 else found.times(factor)


def midnight(day: date) -> int:
    """When a day begins in New York, in seconds since 1970."""
    return int(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).timestamp())


def _evening(day: date) -> int:
    """When the day of pairs begins."""
    before = day - timedelta(days=1)
    return int(datetime(before.year, before.month, before.day, 24 - _EVENING_HOURS, tzinfo=NEW_YORK).timestamp())


def in_new_york(starts: NDArray[np.int64]) -> NDArray[np.datetime64]:
    """Seconds since 1970 as the clock in New York shows them, in seconds."""
    index = pd.DatetimeIndex(starts.astype("datetime64[s]")).tz_localize("UTC").tz_convert(NEW_YORK)
    return index.tz_localize(None).to_numpy().astype("datetime64[s]")


def running_day(symbol: str, now: datetime) -> date:
    """The date of the daily bar that a moment belongs to, if any does."""
    if symbol in CRYPTO:
        return now.astimezone(UTC).date()
    local = now.astimezone(NEW_YORK).replace(tzinfo=None)
    return (local + timedelta(hours=_EVENING_HOURS)).date() if symbol in PAIRS else local.date()


@lru_cache(maxsize=4000)
def _session(ticker: str, day: date) -> Minutes | None:
    """They begin at the day's open and end at its close."""
    known = _sampled(ticker)
    row = known.at(day) - 1
    if row < 0 or known.dates[row] != np.datetime64(day, "D"):
        return None
    opened, high, low, closed, volume = (
        float(column[row]) for column in (known.open, known.high, known.low, known.close, known.volume)
    )
    session = covering("XNYS", day, day)
    count = int((session.closes[0] - session.opens[0]) // np.timedelta64(1, "m"))
    rng = np.random.default_rng([day.toordinal(), *ticker.encode()])
    path = np.linspace(opened, closed, count + 1) + np.append(rng.normal(0, (high - low) / 50, count), 0.0)
    path = np.round(np.clip(path, low, high), 4)
    path[0] = opened
    starts = session.opens[0].astype("datetime64[s]").astype(np.int64) + 60 * np.arange(count)
    return _minutes(starts, path, np.full(count, float(int(volume / count))))


def _minutes(starts: NDArray[np.int64], path: Floats, volume: Floats) -> Minutes:
    before, after = path[:-1], path[1:]
    return Minutes(starts, before, np.maximum(before, after), np.minimum(before, after), after, volume)


def _path_of(symbol: str, begin: int, end: int) -> Minutes:
    """Round the clock; pairs rest from Friday 17:00 to Sunday 17:00 in New York."""
    numbers = np.arange(begin // 60, end // 60 + 1)
    found = _minutes(numbers[:-1] * 60, _made_up_price(symbol, numbers), _made_up_volume(symbol, numbers[:-1]))
    if symbol in PAIRS:
        shifted = in_new_york(found.starts) + np.timedelta64(_EVENING_HOURS, "h")
        is_open = (shifted.astype("datetime64[D]").astype(np.int64) + 3) % 7 < 5  # 1970 began on a Thursday
        found = Minutes(*(column[is_open] for column in vars(found).values()))
    return found


def _made_up_price(symbol: str, minutes: NDArray[np.int64]) -> Floats:
    """A wave in waves, with noise; the same for the same minute since 1970."""
    about, decimals = MADE_UP[symbol]
    turn = 2 * np.pi * minutes
    waves = 0.08 * np.sin(turn / 304_000) + 0.01 * np.sin(turn / 5300) + 0.001 * np.sin(turn / 97)
    noise = np.modf(np.abs(np.sin(minutes * 12.9898 + len(symbol)) * 43_758.5453))[0] - 0.5
    return np.round(about * (1 + waves + 0.0003 * noise), decimals)


def _made_up_volume(symbol: str, minutes: NDArray[np.int64]) -> Floats:
    return (minutes * 7919 % 1000) / 37.0 if symbol in CRYPTO else (minutes * 7919 % 13).astype(np.float64)


@cache
def _made_up(symbol: str) -> Days:
    if symbol in FOREIGN:
        dates = covering("XPAR", _MADE_UP_FIRST, _MADE_UP_LAST).dates.astype("datetime64[D]")
        begin, minutes, step = dates.astype(np.int64) * 1440 + 480, 510, 17
    else:
        dates = np.arange(str(_MADE_UP_FIRST), str(_MADE_UP_LAST), dtype="datetime64[D]")
        if symbol in PAIRS:
            dates = dates[(dates.astype(np.int64) + 3) % 7 < 5]
            begin = np.array([_evening(day) // 60 for day in dates.tolist()])
        else:
            begin = dates.astype(np.int64) * 1440
        minutes, step = 1440, 1
    parts = [_bars(symbol, some, minutes, step) for some in np.array_split(begin, 20)]
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    opened, high, low, closed, volume = columns
    return Days(dates, opened, high, low, closed, volume, adjusted=closed)


def _bars(symbol: str, begin: NDArray[np.int64], minutes: int, step: int) -> tuple[Floats, ...]:
    """Open, high, low, close and volume of days that begin at these minutes since 1970."""
    numbers = begin[:, None] + np.arange(0, minutes + 1, step)
    prices = _made_up_price(symbol, numbers)
    volume = _made_up_volume(symbol, numbers[:, :-1]).sum(axis=1)
    return prices[:, 0], prices.max(axis=1), prices.min(axis=1), prices[:, -1], volume
