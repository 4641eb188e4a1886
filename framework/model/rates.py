"""Exchange rates: beside a panel, what a unit of each ticker's currency was worth at each bar; and a single one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from framework.model.panel import Floats


@dataclass(frozen=True, eq=False)
class Rates:
    """Units of the portfolio's currency per unit of each ticker's; NaN where no rate was known yet, 1 for its own.

    Once a ticker has a rate, it has one at all later bars: the last that was known.

    Attributes:
        at_open: shape ``(T, N)``: known when trading in the bar starts; what fills in it are converted at.
        at_close: shape ``(T, N)``: known when the bar becomes available; for sizing and valuation.
        is_old: shape ``(T, N)``: whether that one is too old for money to move by it; None: none is.
    """

    at_open: Floats
    at_close: Floats
    is_old: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        for array in (self.at_open, self.at_close):
            array.setflags(write=False)

    def rows(self, start: int, stop: int) -> Rates:
        """Bars ``start`` to ``stop`` (exclusive) as views."""
        is_old = None if self.is_old is None else self.is_old[start:stop]
        return Rates(self.at_open[start:stop], self.at_close[start:stop], is_old)


@dataclass(frozen=True, slots=True)
class KnownRate:
    """The rate from one currency to another that was known at a moment, and where it comes from.

    Attributes:
        rate: units of the other currency per unit of the first, as the books keep it.
        source: key of the data source.
        ticker: the FX ticker.
        is_inverse: the rate is one over the ticker's close.
        known_since: when its bar became available, UTC.
    """

    rate: Decimal
    source: str
    ticker: str
    is_inverse: bool
    known_since: datetime
