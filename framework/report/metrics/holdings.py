"""What was held, and how it moved: turnover, exposure, volatility and correlation of tickers."""

from __future__ import annotations

import math

import numpy as np

from framework.model.panel import Floats
from framework.report.metrics.performance import volatility
from framework.report.metrics.year import SESSIONS_PER_YEAR


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
