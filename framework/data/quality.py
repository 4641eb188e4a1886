"""Bars are checked before they are stored: what cannot be a bar is refused, counted and named."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from framework.data.calendars import STEPS
from framework.errors import DataError
from framework.model.bars import Bars

Mask = NDArray[np.bool_]

#: What can be wrong with a row, in the order it is looked for; a row counts under the first that fits.
REFUSED = {
    "absurd date": "the timestamp is missing or not in the years 1900 to 2100",
    "missing price": "a price is missing or not a number",
    "price not positive": "a price is zero or negative",
    "price too large": "a price is 9.2 billion or more, which cannot be stored",
    "high below low": "the high is below the low",
    "outside range": "the open or close lies outside the bar's low and high",
    "negative volume": "the volume is negative",
    "volume too large": "the volume is over 4e18, which cannot be stored",
    "duplicate": "the same bar again, with the same values",
    "conflicting duplicate": "the same bar again, with other values; the first one is kept",
}
#: What is put right and said, for a row that is kept.
MENDED = {
    "widened": "the open or close lay a hair outside low and high; the range was widened to hold it",
    "no volume": "the volume is missing; stored as 0",
}

#: How far, relative to the price, open and close may lie outside the range before the row is refused.
RANGE_TOLERANCE = 1e-3

_FIRST_MOMENT, _END = np.datetime64("1900-01-01", "us"), np.datetime64("2101-01-01", "us")
_LARGEST_PRICE = 9.2e9
_SMALLEST_PRICE = 5e-10  # prices are stored to 1e-9
_LARGEST_VOLUME = 4e18
_EXAMPLES_PER_CODE = 3


@dataclass(frozen=True)
class Example:
    """One row that was refused or mended."""

    code: str
    ticker: str
    timestamp: datetime | None
    values: str

    def __str__(self) -> str:
        moment = f"{self.timestamp:%Y-%m-%d %H:%M} UTC" if self.timestamp else "without a date"
        return f"{self.ticker} {moment} ({self.values})"


@dataclass(frozen=True)
class QualityReport:
    """What was wrong with the rows of a load.

    Attributes:
        rows: how many were looked at.
        counts: rows by code, the keys of :data:`REFUSED` and :data:`MENDED`.
        examples: the first few of each code.
    """

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: tuple[Example, ...] = ()

    @property
    def refused(self) -> int:
        """How many rows were not accepted."""
        return sum(self.counts[code] for code in REFUSED)

    @property
    def accepted(self) -> int:
        """How many rows went on to the database."""
        return self.rows - self.refused

    def merged(self, other: QualityReport) -> QualityReport:
        """Both reports as one."""
        seen: Counter[str] = Counter()
        kept = []
        for example in self.examples + other.examples:
            seen[example.code] += 1
            if seen[example.code] <= _EXAMPLES_PER_CODE:
                kept.append(example)
        return QualityReport(self.rows + other.rows, self.counts + other.counts, tuple(kept))

    def lines(self) -> list[str]:
        """A line per problem, for the user; none where all was well."""
        return [
            f"{self.counts[code]} of {self.rows} rows {verb}: {text}; first: {self._first(code)}"
            for verb, codes in (("refused", REFUSED), ("kept", MENDED))
            for code, text in codes.items()
            if self.counts[code]
        ]

    def _first(self, code: str) -> str:
        return ", ".join(str(example) for example in self.examples if example.code == code)


class _Findings:
    """Counts and first examples while a batch is looked through."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: list[Example] = []

    def add(self, code: str, bars: Bars, rows: NDArray[np.intp]) -> None:
        if not len(rows):
            return
        self.counts[code] += len(rows)
        self.examples += [_example(code, bars, int(row)) for row in rows[:_EXAMPLES_PER_CODE]]


def check(bars: Bars) -> tuple[Bars, QualityReport]:
    """Sort out what cannot be stored.

    Args:
        bars: as the source gave them, in any order.

    Returns:
        (the accepted bars by ticker and time, one per key; what was found).
    """
    findings = _Findings()
    refused = np.zeros(len(bars), dtype=np.bool_)
    for code, mask in _implausible(bars).items():
        findings.add(code, bars, np.flatnonzero(mask & ~refused))
        refused |= mask
    kept = bars.take(~refused) if refused.any() else bars
    kept = _first_of_each(kept, findings)
    kept = _mended(kept, findings)
    return kept, QualityReport(len(bars), findings.counts, tuple(findings.examples))


def check_spacing(bars: Bars, interval: str) -> None:
    """Check that the bars are not of a shorter interval than they are said to be.

    Args:
        bars: by ticker and time, as :func:`check` returns them.
        interval: what they are loaded as.

    Raises:
        DataError: two bars of a ticker lie closer together than the interval; names them.
    """
    step = np.timedelta64(STEPS[interval], "us")
    close = (np.diff(bars.timestamps) < step) & (np.diff(bars.code) == 0)
    if not close.any():
        return
    row = int(np.flatnonzero(close)[0])
    first, second = bars.timestamps[row : row + 2].astype("datetime64[s]")
    raise DataError(
        f"{bars.tickers[bars.code[row]]} has bars at {first} and {second} UTC, which is less than one {interval} "
        f"apart; set interval to what the source holds (it was {interval!r})"
    )


def _implausible(bars: Bars) -> dict[str, Mask]:
    prices = (bars.open, bars.high, bars.low, bars.close)
    low = np.minimum(bars.open, bars.close)
    high = np.maximum(bars.open, bars.close)
    slack = 1.0 + RANGE_TOLERANCE
    dated = (bars.timestamps >= _FIRST_MOMENT) & (bars.timestamps < _END)
    return {
        "absurd date": ~dated,
        "missing price": ~np.logical_and.reduce([np.isfinite(price) for price in prices]),
        "price not positive": np.logical_or.reduce([price < _SMALLEST_PRICE for price in prices]),
        "price too large": np.logical_or.reduce([price >= _LARGEST_PRICE for price in prices]),
        "high below low": bars.high < bars.low,
        "outside range": (low * slack < bars.low) | (high > bars.high * slack),
        "negative volume": bars.volume < 0,
        "volume too large": bars.volume > _LARGEST_VOLUME,
    }


def _first_of_each(bars: Bars, findings: _Findings) -> Bars:
    """Bars by ticker and time; of several with the same key, the one that came first."""
    if _rising(bars):
        return bars
    bars = bars.take(np.lexsort((bars.timestamps, bars.code)))  # stable, so the first stays first
    again = np.zeros(len(bars), dtype=np.bool_)
    again[1:] = (np.diff(bars.code) == 0) & (bars.timestamps[1:] == bars.timestamps[:-1])
    if not again.any():
        return bars
    # Compare with the row that is kept, which may lie several rows up.
    kept = np.maximum.accumulate(np.where(again, 0, np.arange(len(bars))))
    same = np.ones(len(bars), dtype=np.bool_)
    for name in ("open", "high", "low", "close", "volume"):
        values = getattr(bars, name)
        same &= (values == values[kept]) | (np.isnan(values) & np.isnan(values[kept]))
    findings.add("duplicate", bars, np.flatnonzero(again & same))
    findings.add("conflicting duplicate", bars, np.flatnonzero(again & ~same))
    return bars.take(~again)


def _rising(bars: Bars) -> bool:
    step = np.diff(bars.code)
    return bool(((step > 0) | ((step == 0) & (bars.timestamps[1:] > bars.timestamps[:-1]))).all())


def _mended(bars: Bars, findings: _Findings) -> Bars:
    low = np.minimum.reduce([bars.low, bars.open, bars.close])
    high = np.maximum.reduce([bars.high, bars.open, bars.close])
    narrow = (low < bars.low) | (high > bars.high)
    unknown = np.isnan(bars.volume)
    findings.add("widened", bars, np.flatnonzero(narrow))
    findings.add("no volume", bars, np.flatnonzero(unknown))
    if narrow.any():
        bars = replace(bars, low=low, high=high)
    if unknown.any():
        bars = replace(bars, volume=np.where(unknown, 0.0, bars.volume))
    return bars


def _example(code: str, bars: Bars, row: int) -> Example:
    shown = ("volume",) if "volume" in code else ("open", "high", "low", "close")
    values = ", ".join(f"{name} {getattr(bars, name)[row]:.10g}" for name in shown)
    moment: datetime | None = bars.timestamps[row].astype("datetime64[us]").item()
    return Example(code, bars.tickers[bars.code[row]], moment, values)
