"""Bars on their way into the database, and the facts that adjust them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from framework.model.panel import Floats, Times

INTERVALS = ("1min", "5min", "15min", "30min", "1h", "4h", "1d")


@dataclass(frozen=True, eq=False)
class Bars:
    """``K`` bars as columns, in any order: what a data source hands over. One array per column, never a row object.

    Attributes:
        tickers: the distinct names that ``code`` points into.
        code: shape ``(K,)``, integer index into ``tickers``.
        timestamps: shape ``(K,)``, ``datetime64[us]``, UTC start of bar (daily: the session's date at 00:00).
        open, high, low, close: shape ``(K,)``, float64, price per share as the source states it.
        volume: shape ``(K,)``, float64, shares.
    """

    tickers: tuple[str, ...]
    code: NDArray[np.int32]
    timestamps: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.code)

    @classmethod
    def joined(cls, parts: Sequence[Bars]) -> Bars:
        """All bars of some parts, in their order; a ticker may be in several."""
        if len(parts) == 1:
            return parts[0]
        tickers = tuple(dict.fromkeys(name for part in parts for name in part.tickers))
        place = {name: code for code, name in enumerate(tickers)}
        codes = [np.array([place[name] for name in part.tickers], np.int32)[part.code] for part in parts]
        empty = np.empty(0)
        columns = {
            name: np.concatenate([empty, *(getattr(part, name) for part in parts)])
            for name in ("open", "high", "low", "close", "volume")
        }
        times = np.concatenate([np.empty(0, "datetime64[us]"), *(part.timestamps for part in parts)])
        return cls(tickers, np.concatenate([np.empty(0, np.int32), *codes]), times, **columns)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Bars:
        """The bars at ``index`` (positions or a mask), in that order."""
        return Bars(
            self.tickers,
            self.code[index],
            self.timestamps[index],
            self.open[index],
            self.high[index],
            self.low[index],
            self.close[index],
            self.volume[index],
        )


@dataclass(frozen=True)
class CorporateAction:
    """A split or a cash dividend, as of its ex-date.

    ``value`` is, for a split, new shares per old share (2:1 is 2); for a dividend, cash per share in the
    instrument's currency, as paid on the shares of that day (not adjusted for later splits).
    """

    ticker: str
    ex_date: date
    kind: Literal["split", "dividend"]
    value: Decimal
