"""Figures that set the returns of one series beside those of a benchmark in the same sessions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from framework.model.panel import Floats
from framework.report.metrics.performance import cagr, volatility
from framework.report.metrics.returns import grown, moves, ratio
from framework.report.metrics.year import SESSIONS_PER_YEAR


@dataclass(frozen=True)
class Relative:
    """How a series did against a benchmark; ``None`` = undefined.

    Attributes:
        alpha: return a year that the benchmark does not explain, a fraction.
        beta: return per unit of the benchmark's return.
        information_ratio: mean ÷ deviation of the difference in returns, by session: not annualised.
        tracking_error: deviation of the difference in returns, a fraction a year.
        up_capture, down_capture: growth rate ÷ the benchmark's, over the sessions in which it gained, and lost.
    """

    alpha: float | None
    beta: float | None
    information_ratio: float | None
    tracking_error: float | None
    up_capture: float | None
    down_capture: float | None


def relative(returns: Floats, benchmark: Floats, per_year: float = SESSIONS_PER_YEAR) -> Relative:
    """All figures that compare with a benchmark.

    Args:
        returns: shape ``(S,)``.
        benchmark: its returns in the same sessions, shape ``(S,)``.
        per_year: sessions a year.

    Raises:
        ValueError: the two do not have the same number of sessions; so do all functions of this module.
    """
    return Relative(
        alpha=alpha(returns, benchmark, per_year),
        beta=beta(returns, benchmark),
        information_ratio=information_ratio(returns, benchmark),
        tracking_error=tracking_error(returns, benchmark, per_year),
        up_capture=up_capture(returns, benchmark, per_year),
        down_capture=down_capture(returns, benchmark, per_year),
    )


def alpha(returns: Floats, benchmark: Floats, per_year: float = SESSIONS_PER_YEAR) -> float | None:
    """(1 + mean of returns − beta × benchmark) ^ per_year − 1: what the benchmark does not explain, a year.

    ``None`` where beta is undefined, or where it is too large for a float; −1 where the mean is a total loss or worse.
    """
    slope = beta(returns, benchmark)
    if slope is None:
        return None
    return grown(float(np.mean(returns - slope * benchmark)), per_year)


def beta(returns: Floats, benchmark: Floats) -> float | None:
    """Covariance with the benchmark ÷ the benchmark's variance.

    ``None`` below two sessions or where the benchmark's returns never differ (by more than 1e-12).
    """
    _same_sessions(returns, benchmark)
    if len(returns) < 2 or not moves(benchmark):
        return None
    away = benchmark - np.mean(benchmark)
    return float(np.mean(away * (returns - np.mean(returns))) / np.mean(away**2))


def information_ratio(returns: Floats, benchmark: Floats) -> float | None:
    """Mean ÷ standard deviation (``ddof=1``) of returns − benchmark, by session; × √per_year would annualise it.

    ``None`` below two sessions or where the difference never changes (by more than 1e-12).
    """
    _same_sessions(returns, benchmark)
    active = returns - benchmark
    if len(active) < 2 or not moves(active):
        return None
    return float(np.mean(active) / np.std(active, ddof=1))


def tracking_error(returns: Floats, benchmark: Floats, per_year: float = SESSIONS_PER_YEAR) -> float | None:
    """Standard deviation (``ddof=1``) of returns − benchmark × √per_year.

    ``None`` below two sessions, 0 where the difference never changes (by more than 1e-12).
    """
    _same_sessions(returns, benchmark)
    active = returns - benchmark
    if len(active) < 2:
        return None
    return volatility(active, per_year) if moves(active) else 0.0


def up_capture(returns: Floats, benchmark: Floats, per_year: float = SESSIONS_PER_YEAR) -> float | None:
    """CAGR ÷ the benchmark's, both over the sessions in which the benchmark gained.

    ``None`` if it never did, or where one of the two rates is too large for a float.
    """
    _same_sessions(returns, benchmark)
    return _capture(returns, benchmark, benchmark > 0.0, per_year)


def down_capture(returns: Floats, benchmark: Floats, per_year: float = SESSIONS_PER_YEAR) -> float | None:
    """CAGR ÷ the benchmark's, both over the sessions in which the benchmark lost; below 0: it gained in these.

    ``None`` if it never did, or where the rate is too large for a float.
    """
    _same_sessions(returns, benchmark)
    return _capture(returns, benchmark, benchmark < 0.0, per_year)


def _capture(returns: Floats, benchmark: Floats, chosen: NDArray[np.bool_], per_year: float) -> float | None:
    own, other = cagr(returns[chosen], per_year), cagr(benchmark[chosen], per_year)
    if own is None or other is None:
        return None
    captured = ratio(own, other)
    return None if captured is None else captured + 0.0


def _same_sessions(returns: Floats, benchmark: Floats) -> None:
    if returns.shape != benchmark.shape:
        raise ValueError(
            f"returns have the shape {returns.shape}, those of the benchmark {benchmark.shape}; "
            "give one return of each for every session"
        )
