"""Every figure that reports show, computed once: pure functions on float64 arrays.

Conventions, the same for all of them:

- A *return* is the simple return of one session: value at its close ÷ (value at the close before + money that came
  in since) − 1. The first session's base is the opening cash (trading-rules 3). Shape ``(S,)``, a fraction.
- The *index* is what one unit of capital became, without regard to money paid in or out: ``cumprod(1 + returns)``.
  Drawdowns and Sharpe ratios come from it, never from raw equity. Such returns are called time-weighted; the
  money-weighted one, which asks when the money came, is in :mod:`framework.report.money_weighted`.
- *Annualised* means by ``per_year`` sessions a year: 252 unless said otherwise; reports say what
  :func:`sessions_per_year` finds in the curve's own dates. The risk-free rate is 0.
- A figure that is undefined is ``None`` (inside series: NaN), never infinite: each docstring says when.
- The formulas are those of empyrical (``ddof=1`` deviations, ``per_year / S`` as the exponent of the growth rate).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from framework.model.panel import Floats

#: Sessions in a year of a stock exchange; taken where the dates show nothing else.
SESSIONS_PER_YEAR = 252

#: What calendars usually have: stock exchanges, every day, weekdays without holidays, a bar a week, a bar a month.
USUAL_SESSIONS_PER_YEAR = (252, 365, 261, 52, 12)

#: A count this near to a usual one, as a fraction, is the usual one: a year has a holiday more or less.
USUAL_WITHIN = 0.04

#: Fewer sessions, or fewer days between the first and the last, show no calendar.
FEWEST_SESSIONS, FEWEST_DAYS = 20, 28

#: How far holidays move the count of a part of a year.
HOLIDAYS_WITHIN = 0.1

#: A fall smaller than this fraction is rounding, not a drawdown.
SMALLEST_DRAWDOWN = 1e-9


@dataclass(frozen=True)
class Drawdown:
    """One fall below a former peak, in rows of the index it was found in.

    Attributes:
        peak: row of the last high before the fall; −1 is the opening value, before the first row.
        trough: row of the lowest point.
        recovery: first row back at the peak, or ``None`` if it never came back.
        depth: index at the trough ÷ index at the peak − 1, negative.
    """

    peak: int
    trough: int
    recovery: int | None
    depth: float


@dataclass(frozen=True)
class Figures:
    """The key figures of one portfolio or of the total; fractions unless said otherwise, ``None`` = undefined."""

    total_return: float
    cagr: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    max_drawdown: float
    calmar: float | None


def sessions_per_year(sessions: NDArray[np.datetime64]) -> float:
    """How many sessions a year has, by the dates themselves: (S − 1) ÷ years between the first and the last.

    A year is 365.25 days. A count within 4 % of a usual one (252, 365, 261, 52, 12) is the nearest of these; any other,
    such as that of data with a gap, stays as counted. Within less than a year holidays fall unevenly: there 252 stands
    for all counts within 10 % of it. Below 20 sessions or 28 days it is 252, whatever the dates.

    Args:
        sessions: shape ``(S,)``, ``datetime64[D]``, rising.
    """
    days = int((sessions[-1] - sessions[0]).astype(np.int64)) if len(sessions) else 0
    if len(sessions) < FEWEST_SESSIONS or days < FEWEST_DAYS:
        return SESSIONS_PER_YEAR
    counted = (len(sessions) - 1) / (days / 365.25)
    if len(sessions) < SESSIONS_PER_YEAR and abs(counted / SESSIONS_PER_YEAR - 1) <= HOLIDAYS_WITHIN:
        return SESSIONS_PER_YEAR
    usual = min(USUAL_SESSIONS_PER_YEAR, key=lambda known: abs(counted - known))
    return usual if abs(counted / usual - 1) <= USUAL_WITHIN else counted


def figures(returns: Floats, per_year: float = SESSIONS_PER_YEAR) -> Figures:
    """All key figures that need nothing but the session returns, shape ``(S,)``."""
    return Figures(
        total_return=total_return(returns),
        cagr=cagr(returns, per_year),
        volatility=volatility(returns, per_year),
        sharpe=sharpe(returns, per_year),
        sortino=sortino(returns, per_year),
        max_drawdown=max_drawdown(returns),
        calmar=calmar(returns, per_year),
    )


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


def drawdown(index: Floats) -> Floats:
    """Index ÷ highest index so far (the opening 1 included) − 1, shape ``(S,)``, each ≤ 0."""
    return index / np.maximum.accumulate(np.maximum(index, 1.0)) - 1.0


def total_return(returns: Floats) -> float:
    """Growth over the whole time; 0 without a session."""
    return float(np.prod(1.0 + _until_ruin(returns)) - 1.0)


def cagr(returns: Floats, per_year: float = SESSIONS_PER_YEAR) -> float | None:
    """Compound annual growth rate: (1 + total return) ^ (per_year / S) − 1.

    −1 after a total loss; ``None`` without a session, or where a short time makes it too large for a float.
    """
    if len(returns) == 0:
        return None
    total = total_return(returns)
    if total <= -1.0:
        return -1.0
    try:
        return math.expm1(math.log1p(total) * per_year / len(returns))
    except OverflowError:
        return None


def volatility(returns: Floats, per_year: float = SESSIONS_PER_YEAR) -> float | None:
    """Standard deviation of returns (``ddof=1``) × √per_year; ``None`` below two sessions, 0 when all are equal."""
    if len(returns) < 2:
        return None
    if returns.min() == returns.max():
        return 0.0
    return float(np.std(returns, ddof=1) * math.sqrt(per_year))


def sharpe(returns: Floats, per_year: float = SESSIONS_PER_YEAR) -> float | None:
    """Mean ÷ standard deviation (``ddof=1``) × √per_year; ``None`` below two sessions or without volatility."""
    deviation = volatility(returns, per_year)
    if not deviation:
        return None
    return float(np.mean(returns) * per_year / deviation)


def sortino(returns: Floats, per_year: float = SESSIONS_PER_YEAR) -> float | None:
    """Mean ÷ downside deviation × √per_year; the downside deviation is √mean(min(r, 0)²).

    ``None`` below two sessions or where no session lost.
    """
    if len(returns) < 2:
        return None
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    if downside == 0.0:
        return None
    return float(np.mean(returns)) / downside * math.sqrt(per_year)


def max_drawdown(returns: Floats) -> float:
    """Deepest fall of the index below its peak, as a fraction ≤ 0; 0 if it never fell."""
    if len(returns) == 0:
        return 0.0
    return float(drawdown(return_index(returns)).min()) + 0.0


def calmar(returns: Floats, per_year: float = SESSIONS_PER_YEAR) -> float | None:
    """CAGR ÷ |max drawdown|; ``None`` where either is undefined or nothing was ever lost."""
    growth, depth = cagr(returns, per_year), max_drawdown(returns)
    if growth is None or depth > -SMALLEST_DRAWDOWN:
        return None
    return growth / -depth


def turnover(traded: float, equity: Floats, sessions: int, per_year: float = SESSIONS_PER_YEAR) -> float | None:
    """Notional traded (buys and sells) a year ÷ mean equity.

    Args:
        traded: Σ notional of all trades, money.
        equity: shape ``(T,)``, money, at each bar.
        sessions: how many sessions it covers.
        per_year: sessions a year.

    Returns:
        times a year; ``None`` without a session or with a mean equity ≤ 0.
    """
    if sessions == 0 or len(equity) == 0:
        return None
    mean = float(np.mean(equity))
    return traded / mean * per_year / sessions if mean > 0 else None


def exposure(gross: Floats, equity: Floats) -> float | None:
    """Mean over the bars of gross position value ÷ equity; bars with equity ≤ 0 are left out, ``None`` if all are."""
    alive = equity > 0
    if not alive.any():
        return None
    return float(np.mean(gross[alive] / equity[alive]))


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


@dataclass(frozen=True, eq=False)
class Rolling:
    """Figures of the last ``window`` sessions at each session, shape ``(S,)`` each; NaN until the window is full."""

    window: int
    total_return: Floats
    volatility: Floats
    sharpe: Floats


def rolling(returns: Floats, window: int, per_year: float = SESSIONS_PER_YEAR) -> Rolling:
    """Compounded return, volatility and Sharpe ratio (annualised) over the last ``window`` ≥ 2 sessions."""
    blank = [np.full(len(returns), np.nan) for _ in range(3)]
    if len(returns) >= window:
        views = sliding_window_view(returns, window)
        deviation = np.where(np.ptp(views, axis=1) > 0, np.std(views, axis=1, ddof=1), 0.0)
        ratio = np.full(len(views), np.nan)
        np.divide(np.mean(views, axis=1), deviation, out=ratio, where=deviation > 0)
        blank[0][window - 1 :] = np.prod(1.0 + views, axis=1) - 1.0
        blank[1][window - 1 :] = deviation * math.sqrt(per_year)
        blank[2][window - 1 :] = ratio * math.sqrt(per_year)
    return Rolling(window, *blank)


def worst_drawdowns(index: Floats, count: int = 5) -> list[Drawdown]:
    """The ``count`` deepest falls of an index, shape ``(S,)``, deepest first; they never overlap."""
    fall = drawdown(index)
    under = np.concatenate(([False], fall < -SMALLEST_DRAWDOWN, [False])).astype(np.int8)
    starts, stops = np.flatnonzero(np.diff(under) == 1), np.flatnonzero(np.diff(under) == -1)
    if len(starts) == 0:
        return []
    depths = np.minimum.reduceat(np.append(fall, 0.0), np.stack((starts, stops), axis=1).ravel())[::2]
    deepest = np.argsort(depths, kind="stable")[:count]
    return [_episode(fall, int(starts[i]), int(stops[i])) for i in deepest]


def _episode(fall: Floats, start: int, stop: int) -> Drawdown:
    trough = start + int(np.argmin(fall[start:stop]))
    return Drawdown(start - 1, trough, stop if stop < len(fall) else None, float(fall[trough]))


def price_returns(closes: Floats) -> Floats:
    """Simple returns between consecutive rows of prices, shape ``(S, N)`` → ``(S − 1, N)``; NaN if one is unknown."""
    if len(closes) < 2:
        return np.empty((0, closes.shape[1]))
    growth = np.full((len(closes) - 1, closes.shape[1]), np.nan)
    np.divide(closes[1:], closes[:-1], out=growth, where=closes[:-1] > 0)
    growth -= 1.0
    return growth


def column_volatility(returns: Floats, per_year: float = SESSIONS_PER_YEAR) -> Floats:
    """Annualised volatility of each column, shape ``(S, N)`` → ``(N,)``; NaN below two known returns."""
    columns = np.ascontiguousarray(returns.T)
    return np.array([_or_nan(volatility(column[~np.isnan(column)], per_year)) for column in columns], dtype=float)


def correlation(returns: Floats) -> Floats:
    """Pearson correlation of each pair of columns over the rows both have, shape ``(S, N)`` → ``(N, N)``.

    NaN below two common rows, or where one of the two never moves.
    """
    import pandas as pd

    return pd.DataFrame(returns).corr(min_periods=2).to_numpy()


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
