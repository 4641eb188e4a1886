"""Returns, and what they compound to."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from framework.model.panel import Floats

#: Values that differ by no more than this are equal but for rounding; nothing is divided by such a spread.
SMALLEST_SPREAD = 1e-12


def period_returns(values: Floats, opening: float, flows: Floats | None = None) -> Floats:
    """Return of each period from the values at its end.

    Args:
        values: shape ``(S,)``, money, at the end of each period.
        opening: money before the first period.
        flows: shape ``(S,)``, money paid in (negative: out) since the end of the period before; default none.

    Returns:
        shape ``(S,)``. From the first value ≤ 0 on, and wherever there is nothing to earn on (base ≤ 0), the
        return is 0: an account that was wiped out stays where it fell to, and one that has no money yet stays where
        it is, until money comes in that makes the base positive. Beside an unknown value it is NaN.
    """
    return _growth(values, opening, np.zeros(len(values)) if flows is None else flows) - 1.0


def _growth(values: Floats, opening: float, flows: Floats) -> Floats:
    """1 + the return of each period."""
    values = np.where(np.isfinite(values), values, np.nan)
    base = np.concatenate(([opening], values))[:-1] + flows
    rows = np.arange(len(values))
    fell = np.concatenate(([-1], np.maximum.accumulate(np.where(values > 0, -1, rows))))[:-1]
    revived = np.maximum.accumulate(np.where((flows > 0) & (base > 0), rows, 0))
    growth = np.ones(len(values))
    np.divide(values, base, out=growth, where=(base > 0) & (fell < revived))
    return growth


def session_returns(values: Floats, opening: float, flows: Floats, ends: NDArray[np.intp]) -> Floats:
    """Returns of sessions from the values at their bars; in a session, money may come or go at any bar.

    A session's return is value at its end ÷ base − 1. Where money moved inside it, it is that of the parts before and
    after, compounded, so that each is measured on the money that was there.

    Args:
        values: shape ``(T,)``, money, at the close of each bar.
        opening: money before the first bar.
        flows: shape ``(T,)``, money paid in (negative: out) since the bar before.
        ends: shape ``(S,)``, row of the last bar of each session, rising; the last is T − 1.

    Returns:
        shape ``(S,)``; what is 0 and what is NaN: as in :func:`period_returns`.
    """
    cuts = np.union1d(ends, np.flatnonzero(flows[1:]))
    starts = np.concatenate(([0], cuts[:-1] + 1))
    growth = _growth(values[cuts], opening, flows[starts])
    first = np.concatenate(([0], np.searchsorted(cuts, ends[:-1]) + 1))
    returns: Floats = np.multiply.reduceat(growth, first) - 1.0
    return returns


def invested(returns: Floats, opening: float, flows: Floats) -> Floats:
    """What money becomes at given returns: ``(value before + money in) × (1 + return)``, shape ``(S,)``.

    Args:
        returns: shape ``(S,)``, of a benchmark, say.
        opening: money before the first period.
        flows: shape ``(S,)``, money paid in (negative: out) before each period; it earns that period's return.
    """
    values, value = np.empty(len(returns)), opening
    for row, (growth, flow) in enumerate(zip((1.0 + returns).tolist(), flows.tolist(), strict=True)):
        value = values[row] = (value + flow) * growth
    return values


def return_index(returns: Floats) -> Floats:
    """What one unit of capital became: ``cumprod(1 + returns)``, shape ``(S,)``; once lost, it does not come back."""
    index: Floats = np.multiply.accumulate(1.0 + _until_ruin(returns))
    return index


def _until_ruin(returns: Floats) -> Floats:
    """``returns``, but 0 after the first that lost all: what new money earns is no gain of the unit that is gone."""
    ruin = np.flatnonzero(returns <= -1.0)[:1]
    if len(ruin) == 0:
        return returns
    return np.where(np.arange(len(returns)) > ruin[0], 0.0, returns)


def total_return(returns: Floats) -> float:
    """Growth over the whole time; 0 without a session."""
    return float(np.prod(1.0 + _until_ruin(returns)) - 1.0)


def grown(growth: float, times: float) -> float | None:
    """(1 + ``growth``) ^ ``times`` − 1; −1 from a total loss on, ``None`` where it is too large for a float."""
    if growth <= -1.0:
        return -1.0
    try:
        return math.expm1(math.log1p(growth) * times)
    except OverflowError:
        return None


def ratio(part: float, whole: float) -> float | None:
    """``part`` ÷ ``whole``; ``None`` where ``whole`` is 0, or so small that the ratio is too large for a float."""
    found = part / whole if whole else math.inf
    return found if math.isfinite(found) else None


def moves(series: Floats) -> bool:
    """Whether the values of a series, shape ``(S,)``, S ≥ 1, differ by more than rounding."""
    return bool(np.ptp(series) > SMALLEST_SPREAD)


def compounded(sessions: NDArray[np.datetime64], returns: Floats, unit: str) -> tuple[NDArray[np.datetime64], Floats]:
    """Returns compounded per calendar month or year.

    Args:
        sessions: shape ``(S,)``, ``datetime64[D]``, rising.
        returns: shape ``(S,)``.
        unit: ``M`` or ``Y``.

    Returns:
        the ``P`` periods that have a session (``datetime64[unit]``, rising), and their returns, shape ``(P,)``.
    """
    periods, starts = np.unique(sessions.astype(f"datetime64[{unit}]"), return_index=True)
    if len(periods) == 0:
        return periods, np.empty(0)
    return periods, np.multiply.reduceat(1.0 + returns, starts) - 1.0
