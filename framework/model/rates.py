"""Exchange rates beside a panel: what a unit of each ticker's currency was worth, in the portfolio's, at each bar."""

from __future__ import annotations

from dataclasses import dataclass

from framework.model.panel import Floats


@dataclass(frozen=True, eq=False)
class Rates:
    """Units of the portfolio's currency per unit of each ticker's; NaN where no rate was known yet, 1 for its own.

    Once a ticker has a rate, it has one at all later bars: the last that was known.

    Attributes:
        at_open: shape ``(T, N)``: known when trading in the bar starts; what fills in it are converted at.
        at_close: shape ``(T, N)``: known when the bar becomes available; for sizing and valuation.
    """

    at_open: Floats
    at_close: Floats

    def __post_init__(self) -> None:
        for array in (self.at_open, self.at_close):
            array.setflags(write=False)

    def rows(self, start: int, stop: int) -> Rates:
        """Bars ``start`` to ``stop`` (exclusive) as views."""
        return Rates(self.at_open[start:stop], self.at_close[start:stop])
