"""The data source ``sample``: real daily prices of five stocks, 2000 to 2013, shipped with the package."""

from __future__ import annotations

import difflib
import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framework import Bars, CorporateAction, DataSource, Floats, SourceError, hookimpl

FILE = "wiki_daily_2000_2013.csv.gz"

#: A step of Adj Close / Close below this is rounding, not an event.
NOISE = 1e-7


class Sample(DataSource):
    """AAPL, FB, GOOG, IBM and MSFT, daily bars as traded, with their splits and dividends."""

    whole = True

    def key(self) -> str:
        """``sample``."""
        return "sample"

    def tickers(self) -> tuple[str, ...]:
        """The five tickers."""
        return self._table.tickers

    def bars(self, tickers: Sequence[str], interval: str, start: date, end: date) -> Bars:
        """The bars of ``tickers`` from ``start`` to ``end``, as traded.

        Raises:
            SourceError: another interval than ``1d``, or an unknown ticker.
        """
        if interval != "1d":
            raise SourceError(f"data source 'sample' has daily bars only; interval was {interval!r}, set it to 1d")
        table = self._table
        wanted = [table.index(ticker) for ticker in tickers]
        first, last = np.datetime64(start, "D"), np.datetime64(end, "D")
        rows = np.isin(table.code, wanted) & (table.dates >= first) & (table.dates <= last)
        cells = table.cells[rows]
        return Bars(table.tickers, table.code[rows], table.dates[rows].astype("datetime64[us]"), *cells[:, :5].T)

    def corporate_actions(self, tickers: Sequence[str]) -> tuple[CorporateAction, ...]:
        """Splits and dividends, derived from Adj Close / Close."""
        table = self._table
        found: list[CorporateAction] = []
        for ticker in tickers:
            rows = table.code == table.index(ticker)
            found += derived_actions(ticker, table.dates[rows], table.cells[rows, 3], table.cells[rows, 5])
        return tuple(found)

    def content_hash(self, ticker: str, interval: str) -> str:
        """Hash of the shipped file."""
        return hashlib.sha256(self._raw).hexdigest()

    @cached_property
    def _raw(self) -> bytes:
        return files(__package__).joinpath("sample").joinpath(FILE).read_bytes()

    @cached_property
    def _table(self) -> _Table:
        return _parse(gzip.decompress(self._raw))


@dataclass(frozen=True, eq=False)
class _Table:
    """The file: ``cells`` has the columns open, high, low, close, volume, adjusted close."""

    tickers: tuple[str, ...]
    code: NDArray[np.int32]
    dates: NDArray[np.datetime64]
    cells: Floats

    def index(self, ticker: str) -> int:
        if ticker not in self.tickers:
            near = difflib.get_close_matches(ticker, self.tickers, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SourceError(f"data source 'sample' has no ticker {ticker!r} (it has {', '.join(self.tickers)}){hint}")
        return self.tickers.index(ticker)


def _parse(raw: bytes) -> _Table:
    lines = raw.decode("ascii").splitlines()[1:]
    columns: Any = [("ticker", "U5"), ("date", "U10"), ("cells", "f8", (6,))]
    rows = np.loadtxt(lines, delimiter=",", dtype=columns)
    names, code = np.unique(rows["ticker"], return_inverse=True)
    dates = rows["date"].astype("datetime64[D]")
    return _Table(tuple(names.tolist()), code.astype(np.int32), dates, rows["cells"])


def derived_actions(
    ticker: str, dates: NDArray[np.datetime64], close: Floats, adjusted: Floats
) -> list[CorporateAction]:
    """Splits and dividends of one ticker, from how its adjusted close parts from its close.

    Args:
        ticker: its name.
        dates: shape ``(K,)``, ``datetime64[D]``, rising.
        close: shape ``(K,)``, as traded.
        adjusted: shape ``(K,)``: adjusted for splits, and for dividends by the factor C / (C + D) with the close C of
            the ex-date.

    Returns:
        One action per step of the ratio, oldest first.
    """
    ratio = adjusted / close
    step = ratio[1:] / ratio[:-1]
    return [
        _action(ticker, dates[row + 1].item(), float(step[row]), close[row], close[row + 1])
        for row in np.flatnonzero(np.abs(step - 1.0) > NOISE)
    ]


def _action(ticker: str, day: date, step: float, before: float, after: float) -> CorporateAction:
    simple = Fraction(step).limit_denominator(10) if step > 1 else 1 / Fraction(1 / step).limit_denominator(10)
    # The price must have moved with the step: a dividend of exactly a quarter of the price is no split.
    moved = abs(np.log(before / after / step)) < abs(np.log(step)) / 2
    if moved and abs(step / float(simple) - 1.0) < 1e-6:
        value = Decimal(simple.numerator) / Decimal(simple.denominator)
        return CorporateAction(ticker, day, "split", value)
    cash = Decimal((step - 1.0) * after).quantize(Decimal("1e-6"))
    return CorporateAction(ticker, day, "dividend", cash.normalize())


@hookimpl
def register_data_sources() -> dict[str, type[DataSource]]:
    """The source ``sample``."""
    return {"sample": Sample}
