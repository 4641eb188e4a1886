"""Bars are checked before they are stored: what cannot be a bar is refused, counted and named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framework.data.calendars import STEPS
from framework.errors import DataError
from framework.model.bars import Bars
from framework.model.quality import MENDED, REFUSED, Policy, policy_of

Mask = NDArray[np.bool_]

#: Bars that go into quarantine, by code.
LeftOut = tuple[tuple[str, Bars], ...]

#: How far, relative to the price, open and close may lie outside the range before the row is refused.
RANGE_TOLERANCE = 1e-3

_FIRST_MOMENT, _END = np.datetime64("1900-01-01", "us"), np.datetime64("2101-01-01", "us")
_LARGEST_PRICE = 9.2e9
_SMALLEST_PRICE = 5e-10  # prices are stored to 1e-9
_LARGEST_VOLUME = 4e18
_EXAMPLES_PER_CODE = 3
_HOUR, _DAY = np.timedelta64(1, "h"), np.timedelta64(1, "D")
_PRICES = ("open", "high", "low", "close")


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
    """What was wrong with the rows of one ticker, or of several.

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
        return merged((self, other))

    def stored(self) -> dict[str, Any]:
        """As JSON, to be kept with the ticker's coverage; :meth:`of` makes a report of it again."""
        found = {}
        for code, count in self.counts.items():
            first = [
                [each.timestamp.isoformat() if each.timestamp else None, each.values]
                for each in self.examples
                if each.code == code
            ]
            found[code] = {"rows": count, "first": first}
        return {"rows": self.rows, "found": found}

    @classmethod
    def of(cls, ticker: str, stored: Mapping[str, Any]) -> QualityReport:
        """The report of one ticker that :meth:`stored` gave; an empty one of ``{}``."""
        found = stored.get("found", {})
        examples = tuple(
            Example(code, ticker, datetime.fromisoformat(moment) if moment else None, values)
            for code, each in found.items()
            for moment, values in each["first"]
        )
        counts = Counter({code: each["rows"] for code, each in found.items()})
        return cls(stored.get("rows", 0), counts, examples)

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


def merged(reports: Iterable[QualityReport]) -> QualityReport:
    """All reports as one."""
    rows, counts, examples = 0, Counter[str](), list[Example]()
    seen: Counter[str] = Counter()
    for report in reports:
        rows += report.rows
        counts.update(report.counts)
        for example in report.examples:
            seen[example.code] += 1
            if seen[example.code] <= _EXAMPLES_PER_CODE:
                examples.append(example)
    return QualityReport(rows, counts, tuple(examples))


class _Findings:
    """Counts and first examples by ticker, and what goes into quarantine, while a batch is looked through."""

    def __init__(self, policies: Mapping[str, Policy]) -> None:
        self._policies = policies
        self._counts: dict[str, Counter[str]] = {}
        self._examples: dict[str, list[Example]] = {}
        self._left_out: list[tuple[str, Bars]] = []

    def add(self, code: str, bars: Bars, rows: NDArray[np.intp], kept: NDArray[np.intp] | None = None) -> None:
        """Note ``rows``; ``kept``: of each of them, the row that stays in its place."""
        if len(rows) and code in REFUSED and policy_of(self._policies, code) == "quarantine":
            self._left_out.append((code, bars.take(rows)))
        for ticker, own in _by_ticker(bars, rows):
            self._counts.setdefault(ticker, Counter())[code] += len(own)
            examples = self._examples.setdefault(ticker, [])
            for at in own[:_EXAMPLES_PER_CODE]:
                row = int(rows[at])
                values = _values(code, bars, row) if kept is None else _difference(bars, int(kept[at]), row)
                examples.append(Example(code, ticker, _moment(bars, row), values))

    def left_out(self) -> LeftOut:
        """What goes into quarantine."""
        return tuple(self._left_out)

    def reports(self, bars: Bars) -> dict[str, QualityReport]:
        """What was found of each ticker that has a row, in order of the tickers of ``bars``."""
        rows = np.bincount(bars.code, minlength=len(bars.tickers)).tolist()
        return {
            ticker: QualityReport(count, self._counts.get(ticker, Counter()), tuple(self._examples.get(ticker, ())))
            for ticker, count in zip(bars.tickers, rows, strict=True)
            if count
        }


def _by_ticker(bars: Bars, rows: NDArray[np.intp]) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Each ticker among ``rows``, with where in ``rows`` its own are."""
    if not len(rows):
        return
    codes = bars.code[rows]
    order = np.argsort(codes, kind="stable")
    for own in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        yield bars.tickers[codes[own[0]]], own


def check(
    bars: Bars,
    unasked: Mask | None = None,
    policies: Mapping[str, Policy] | None = None,
    held: Sequence[tuple[str, Bars]] = (),
) -> tuple[Bars, dict[str, QualityReport], LeftOut]:
    """Sort out what cannot be stored.

    Each row is judged by itself and its duplicates, so that nothing depends on where batches are cut; what shows only
    beside other bars is for :func:`framework.data.verify.verify`.

    Args:
        bars: as the source gave them, in any order.
        unasked: shape ``(K,)``: bars that nobody has asked for.
        policies: by code, where it is not the default's.
        held: what checks have put into quarantine, by code; it stays there until its values change.

    Returns:
        (the accepted bars by ticker and time, one per key; what was found of each ticker that has a row; what goes into
        quarantine).
    """
    findings = _Findings(policies or {})
    refused = np.zeros(len(bars), dtype=np.bool_)
    wrong = {} if unasked is None else {"not asked for": unasked}
    for code, mask in (wrong | _implausible(bars)).items():
        findings.add(code, bars, np.flatnonzero(mask & ~refused))
        refused |= mask
    stayed: list[tuple[str, Bars]] = []
    for code, known in held:
        rows = np.flatnonzero(_same(bars, known) & ~refused)
        findings.add("in quarantine", bars, rows)
        stayed.append((code, bars.take(rows)))
        refused[rows] = True
    kept = bars.take(~refused) if refused.any() else bars
    kept = _first_of_each(kept, findings)
    kept = _mended(kept, findings)
    return kept, findings.reports(bars), (*findings.left_out(), *stayed)


def _same(bars: Bars, known: Bars) -> Mask:
    """Which bars have the key and, as they would be stored, the values of a bar of ``known``, which are few."""
    there = {(known.tickers[known.code[row]], known.timestamps[row]): row for row in range(len(known))}
    same = np.zeros(len(bars), dtype=np.bool_)
    for row in np.flatnonzero(np.isin(bars.timestamps, known.timestamps)):
        at = there.get((bars.tickers[bars.code[row]], bars.timestamps[row]))
        same[row] = at is not None and all(
            abs(getattr(bars, name)[row] - getattr(known, name)[at]) <= 1e-12 * getattr(known, name)[at] + 1e-9
            for name in _PRICES
        )
    return same


def check_spacing(bars: Bars, interval: str) -> None:
    """Check that the bars are not of a shorter interval than they are said to be.

    Args:
        bars: by ticker and time, as :func:`check` returns them.
        interval: what they are loaded as.

    Raises:
        DataError: two bars of a ticker lie closer together than the interval; names them.
    """
    step = np.timedelta64(STEPS[interval], "us")
    # Where clocks go forward, bars of several hours that are cut by the local time lie an hour closer.
    shortest = step - _HOUR if _HOUR < step < _DAY else step
    close = (np.diff(bars.timestamps) < shortest) & (np.diff(bars.code) == 0)
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
    for name in (*_PRICES, "volume"):
        values = getattr(bars, name)
        same &= (values == values[kept]) | (np.isnan(values) & np.isnan(values[kept]))
    findings.add("duplicate", bars, np.flatnonzero(again & same))
    conflicting = np.flatnonzero(again & ~same)
    findings.add("conflicting duplicate", bars, conflicting, kept[conflicting])
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
    volume = np.rint(np.where(unknown, 0.0, bars.volume))
    fractional = ~unknown & (volume != bars.volume)
    findings.add("fractional volume", bars, np.flatnonzero(fractional))
    if narrow.any():
        bars = replace(bars, low=low, high=high)
    if unknown.any() or fractional.any():
        bars = replace(bars, volume=volume)
    return bars


def _moment(bars: Bars, row: int) -> datetime | None:
    moment = bars.timestamps[row].astype("datetime64[us]").item()
    return moment if isinstance(moment, datetime) else None  # a number: a year that datetime does not know


def _values(code: str, bars: Bars, row: int) -> str:
    shown = ("volume",) if "volume" in code else _PRICES
    return ", ".join(f"{name} {getattr(bars, name)[row]:.10g}" for name in shown)


def _difference(bars: Bars, kept: int, left: int) -> str:
    """Every field in which two rows of one key differ, in full."""
    sides: tuple[list[str], list[str]] = ([], [])
    for name in (*_PRICES, "volume"):
        words = [np.format_float_positional(getattr(bars, name)[row], trim="-") for row in (kept, left)]
        if words[0] != words[1]:
            for side, word in zip(sides, words, strict=True):
                side.append(f"{name} {word}")
    return f"kept {', '.join(sides[0])}; left out {', '.join(sides[1])}"
