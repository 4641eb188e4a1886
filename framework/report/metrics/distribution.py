"""What the session returns of one series are like: their tails, their lean, and how steadily they add up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from framework.model.panel import Floats
from framework.report.metrics.performance import downside_risk
from framework.report.metrics.returns import SMALLEST_SPREAD, moves, ratio
from framework.report.metrics.year import SESSIONS_PER_YEAR

#: The part of the sessions, the worst, that value at risk is about.
CUTOFF = 0.05


@dataclass(frozen=True)
class Shape:
    """What the session returns of one series are like; ``None`` = undefined.

    Attributes:
        downside_risk: deviation of the losses, a fraction a year.
        omega: what sessions gained ÷ what sessions lost.
        tail_ratio: |95th percentile| ÷ |5th percentile| of the returns.
        value_at_risk: return at the edge of the worst 5 % of the sessions, a fraction, negative where it is a loss.
        conditional_value_at_risk: mean return of these, a fraction.
        stability: R² of a straight line through the logarithm of the index, 0 to 1.
        skew, kurtosis: of the returns, pure numbers; both are 0 for a normal distribution.
        best_session, worst_session: largest and smallest return, fractions.
        gaining_share: sessions that gained ÷ all, a fraction.
    """

    downside_risk: float | None
    omega: float | None
    tail_ratio: float | None
    value_at_risk: float | None
    conditional_value_at_risk: float | None
    stability: float | None
    skew: float | None
    kurtosis: float | None
    best_session: float | None
    worst_session: float | None
    gaining_share: float | None


def shape(returns: Floats, per_year: float = SESSIONS_PER_YEAR) -> Shape:
    """All figures that tell what session returns, shape ``(S,)``, are like."""
    return Shape(
        downside_risk=downside_risk(returns, per_year),
        omega=omega(returns),
        tail_ratio=tail_ratio(returns),
        value_at_risk=value_at_risk(returns),
        conditional_value_at_risk=conditional_value_at_risk(returns),
        stability=stability(returns),
        skew=skew(returns),
        kurtosis=kurtosis(returns),
        best_session=best_session(returns),
        worst_session=worst_session(returns),
        gaining_share=gaining_share(returns),
    )


def omega(returns: Floats) -> float | None:
    """Σ returns above 0 ÷ Σ losses below it; ``None`` below two sessions or where no session lost."""
    if len(returns) < 2:
        return None
    gained, lost = np.sum(np.maximum(returns, 0.0)), np.sum(np.minimum(returns, 0.0))
    return ratio(float(gained), -float(lost))


def tail_ratio(returns: Floats) -> float | None:
    """|95th percentile| ÷ |5th percentile|, interpolated; ``None`` without a session or where the 5th is 0 (±1e-12)."""
    if len(returns) == 0:
        return None
    low, high = np.abs(np.percentile(returns, [5, 95])).tolist()
    return ratio(high, low) if low > SMALLEST_SPREAD else None


def value_at_risk(returns: Floats, cutoff: float = CUTOFF) -> float | None:
    """The ``cutoff`` quantile of the returns, interpolated, a return: negative is a loss; ``None`` without a session.

    Args:
        returns: shape ``(S,)``.
        cutoff: part of the sessions that are worse, a fraction.
    """
    if len(returns) == 0:
        return None
    return float(np.percentile(returns, 100 * cutoff))


def conditional_value_at_risk(returns: Floats, cutoff: float = CUTOFF) -> float | None:
    """Mean of the worst ⌊(S − 1) × ``cutoff``⌋ + 1 returns, as a return; ``None`` without a session.

    Args:
        returns: shape ``(S,)``.
        cutoff: part of the sessions that count as the worst, a fraction.
    """
    if len(returns) == 0:
        return None
    last = int((len(returns) - 1) * cutoff)
    return float(np.mean(np.partition(returns, last)[: last + 1]))


def stability(returns: Floats) -> float | None:
    """R² of the least-squares line through the logarithm of the index, Σ log(1 + r), by session.

    ``None`` below two sessions, where the logarithm never moves, and after a total loss, where there is none.
    """
    if len(returns) < 2 or returns.min() <= -1.0:
        return None
    logs = np.cumsum(np.log1p(returns))
    if not moves(logs):
        return None
    time = np.arange(len(logs)) - (len(logs) - 1) / 2
    away = logs - np.mean(logs)
    # Sums, not products of vectors: these add up in an order of the library's own.
    explained = np.sum(time * away) ** 2 / (np.sum(time**2) * np.sum(away**2))
    return min(float(explained), 1.0)


def skew(returns: Floats) -> float | None:
    """Third central moment ÷ variance^1.5, both ÷ S; ``None`` without a session or where the returns never differ."""
    return _moment(returns, 3)


def kurtosis(returns: Floats) -> float | None:
    """Fourth central moment ÷ variance² − 3, both ÷ S; ``None`` without a session or where the returns never differ."""
    fourth = _moment(returns, 4)
    return None if fourth is None else fourth - 3.0


def _moment(returns: Floats, power: int) -> float | None:
    """Central moment of the returns in units of their standard deviation."""
    if len(returns) == 0 or not moves(returns):
        return None
    away = returns - np.mean(returns)
    return float(np.mean(away**power) / np.mean(away**2) ** (power / 2))


def best_session(returns: Floats) -> float | None:
    """Largest return; ``None`` without a session."""
    return float(returns.max()) if len(returns) else None


def worst_session(returns: Floats) -> float | None:
    """Smallest return; ``None`` without a session."""
    return float(returns.min()) if len(returns) else None


def gaining_share(returns: Floats) -> float | None:
    """Sessions with a return above 0 ÷ all sessions, a fraction; ``None`` without a session."""
    return float(np.mean(returns > 0.0)) if len(returns) else None
