"""The figures that runs are compared by: what they are called, how they are written, and which end is the better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from framework.report.words import NOTHING, number, percent

Unit = Literal["percent", "number", "times", "count", "money"]


@dataclass(frozen=True)
class Measure:
    """A figure of a run.

    Attributes:
        key: in the section ``total`` of ``summary.json``.
        title: what people read.
        unit: how it is written.
        better: which end is; empty: neither.
        grows: with the time that it is measured over, so that runs of different periods are not to be ranked by it.
        is_rare: usually 0, and only shown where it is not.
    """

    key: str
    title: str
    unit: Unit
    better: Literal["", "high", "low"] = ""
    grows: bool = False
    is_rare: bool = False

    @property
    def is_money(self) -> bool:
        """Whether it is an amount, in the run's currency."""
        return self.unit == "money"

    def best(self, values: Sequence[float | None]) -> tuple[int, ...]:
        """Which of the values are the best; none where there is no better end, or all that are known are the same."""
        known = {i: value for i, value in enumerate(values) if value is not None}
        if not self.better or len(known) < 2:
            return ()
        top = max(known.values()) if self.better == "high" else min(known.values())
        best = tuple(i for i, value in known.items() if math.isclose(value, top, rel_tol=1e-9, abs_tol=1e-12))
        return best if len(best) < len(known) else ()

    def text(self, value: float | None) -> str:
        """The value as people write it."""
        return self._written(value, signed=self.key in _SIGNED)

    def gap(self, value: float | None) -> str:
        """A difference of two values; of percentages it is in percentage points, without a unit."""
        if value is not None and self.unit == "percent":
            return number(value * 100.0, 1, signed=True)
        return self._written(value, signed=True)

    def _written(self, value: float | None, signed: bool) -> str:
        if value is None:
            return NOTHING
        if self.unit == "percent":
            return percent(value, signed=signed)
        if self.unit == "times":
            return f"{number(value, 1, signed)}×"
        return number(value, 2 if self.unit == "number" else 0, signed)


#: In the order in which they are shown.
MEASURES = (
    Measure("total_return", "Total return", "percent", "high", grows=True),
    Measure("cagr", "Return a year", "percent", "high"),
    Measure("money_weighted_return", "Money-weighted return", "percent", "high"),
    Measure("volatility", "Volatility", "percent", "low"),
    Measure("sharpe", "Sharpe", "number", "high"),
    Measure("sortino", "Sortino", "number", "high"),
    Measure("max_drawdown", "Max drawdown", "percent", "high", grows=True),
    Measure("calmar", "Calmar", "number", "high"),
    Measure("exposure", "Exposure", "percent"),
    Measure("turnover", "Turnover a year", "times"),
    Measure("trades", "Trades", "count"),
    Measure("fees", "Fees", "money", "low", grows=True),
    Measure("dividends", "Dividends", "money", is_rare=True),
    Measure("initial_equity", "Opening", "money"),
    Measure("net_flows", "Net money in", "money", is_rare=True),
    Measure("final_equity", "Final equity", "money", "high", grows=True),
)

#: Those of the session returns alone, which can be measured on any sessions: the fields of ``metrics.Figures``.
OF_RETURNS = tuple(
    each
    for each in MEASURES
    if each.key in ("total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "calmar")
)

_SIGNED = ("total_return", "cagr", "money_weighted_return")
