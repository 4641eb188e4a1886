"""The key figures of one series of session returns, over the whole time and over windows of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from framework.model.panel import Floats
from framework.report.metrics.drawdowns import SMALLEST_DRAWDOWN, max_drawdown
from framework.report.metrics.returns import grown, ratio, total_return
from framework.report.metrics.year import SESSIONS_PER_YEAR


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


def cagr(returns: Floats, per_year: float = SESSIONS_PER_YEAR) -> float | None:
    """Compound annual growth rate: (1 + total return) ^ (per_year / S) − 1.

    −1 after a total loss; ``None`` without a session, or where a short time makes it too large for a float.
    """
    if len(returns) == 0:
        return None
    return grown(total_return(returns), per_year / len(returns))


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
    downside = _downside_deviation(returns)
    if downside == 0.0:
        return None
    return float(np.mean(returns)) / downside * math.sqrt(per_year)


def downside_risk(returns: Floats, per_year: float = SESSIONS_PER_YEAR) -> float | None:
    """Downside deviation √mean(min(r, 0)²) × √per_year; ``None`` without a session, 0 where none lost."""
    if len(returns) == 0:
        return None
    return _downside_deviation(returns) * math.sqrt(per_year)


def _downside_deviation(returns: Floats) -> float:
    return math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))


def calmar(returns: Floats, per_year: float = SESSIONS_PER_YEAR) -> float | None:
    """CAGR ÷ |max drawdown|; ``None`` without a session, where nothing was ever lost, or where it is no float."""
    growth, depth = cagr(returns, per_year), max_drawdown(returns)
    if growth is None or depth > -SMALLEST_DRAWDOWN:
        return None
    return ratio(growth, -depth)


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
        sharpes = np.full(len(views), np.nan)
        np.divide(np.mean(views, axis=1), deviation, out=sharpes, where=deviation > 0)
        blank[0][window - 1 :] = np.prod(1.0 + views, axis=1) - 1.0
        blank[1][window - 1 :] = deviation * math.sqrt(per_year)
        blank[2][window - 1 :] = sharpes * math.sqrt(per_year)
    return Rolling(window, *blank)
