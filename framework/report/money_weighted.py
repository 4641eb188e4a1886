"""The money-weighted return: what a year brought on the money that was there, whenever it came.

The other figures (:mod:`framework.report.metrics`) leave out what money came or went, so they tell how good a strategy
is. This one tells how well its owner did: whoever put in most of the money before a bad year has lost by it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np

from framework.model.panel import Floats

#: What a rate is counted by: a year of 365.25 days.
YEAR = np.timedelta64(31_557_600, "s")

#: Logarithm of the largest growth a year that a float can hold.
LARGEST_GROWTH = math.log(sys.float_info.max)

#: Where the search for a rate begins and ends, as logarithms of the growth a year.
FIRST_STEP, FARTHEST = 0.05, 1e12


def money_weighted_return(amounts: Floats, years: Floats, final: float) -> float | None:
    """Internal rate of return a year: at it, all the money put in would have become what is there at the end.

    It is the rate r > −1 with Σ amount × (1 + r) ^ years = final: what spreadsheets call XIRR, and the CFA Institute's
    GIPS standards money-weighted return. (XIRR has years of 365 days; reports here have 365.25.) It counts a good year
    the more, the more money was there; the time-weighted return does not. Without flows it is (final ÷ opening) ^
    (1 ÷ years) − 1.

    Args:
        amounts: shape ``(F,)``, money put in (negative: taken out), in any order; the opening value is one of them.
        years: shape ``(F,)``, from each to the end, ≥ 0.
        final: value at the end.

    Returns:
        a fraction a year. −1 after a total loss (final ≤ 0, nothing taken out); ``None`` where nothing was put in, no
        time passed, no rate explains it, or it is too large for a float. Where several rates do, which takes more
        withdrawals than there was money for, the one nearest to 0 on the side of the profit.
    """
    years, amounts = years[amounts != 0.0], amounts[amounts != 0.0]
    if not math.isfinite(final) or not (amounts > 0.0).any() or not years.max() > 0.0:
        return None
    if final <= 0.0 and (amounts > 0.0).all():
        return -1.0

    def missing(growth: float) -> float:
        """Final value − what the money becomes at e ^ growth a year, scaled so that nothing overflows."""
        powers = growth * years
        scale = max(0.0, float(powers.max()))
        return final * math.exp(-scale) - float(np.sum(amounts * np.exp(powers - scale)))

    growth = _root(missing)
    return None if growth is None or growth > LARGEST_GROWTH else math.expm1(growth)


def _root(function: Callable[[float], float]) -> float | None:
    """Where a function is 0: the nearest to 0 on the side of its sign there, else on the other; ``None``: nowhere."""
    at_zero = function(0.0)
    if at_zero == 0.0:
        return 0.0
    side = math.copysign(1.0, at_zero)
    for direction in (side, -side):
        near, far = 0.0, FIRST_STEP
        while far < FARTHEST:
            if function(direction * far) * side <= 0.0:
                return direction * _bisected(lambda x: function(direction * x) * side > 0.0, near, far)  # noqa: B023
            near, far = far, far * 1.5
    return None


def _bisected(is_before: Callable[[float], bool], low: float, high: float) -> float:
    """The point between ``low`` and ``high`` where ``is_before`` ends, as exactly as floats go."""
    while low < (middle := (low + high) / 2) < high:
        if is_before(middle):
            low = middle
        else:
            high = middle
    return high
