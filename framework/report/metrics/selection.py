"""What a Sharpe ratio says that was chosen as the best of many: how likely it is that there is more to it than luck.

The formulas are those of D. Bailey and M. López de Prado: of the probabilistic Sharpe ratio in "The Sharpe Ratio
Efficient Frontier" (Journal of Risk 15(2), 2012), of the two others in "The Deflated Sharpe Ratio: Correcting for
Selection Bias, Backtest Overfitting and Non-Normality" (Journal of Portfolio Management 40(5), 2014).

Sharpe ratios are those of sessions here, not annualised: what :func:`framework.report.metrics.sharpe` returns, ÷
√per_year. Skew and kurtosis are those of the session returns as :func:`framework.report.metrics.shape` has them, so the
kurtosis of a normal distribution is 0.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from framework.report.metrics.returns import SMALLEST_SPREAD

_NORMAL = NormalDist()


def probabilistic_sharpe(
    sharpe: float, sessions: int, skew: float, kurtosis: float, threshold: float = 0.0
) -> float | None:
    """Probability that the true Sharpe ratio is above a threshold, by the length and the shape of what was seen.

    Φ((SR − threshold) × √(S − 1) ÷ √(1 − skew × SR + (kurtosis + 2) ÷ 4 × SR²)).

    Args:
        sharpe: SR, as seen, by session.
        sessions: S, how many were seen.
        skew: of their returns.
        kurtosis: of their returns, 0 for a normal distribution.
        threshold: a Sharpe ratio, by session.

    Returns:
        0 to 1. ``None`` below two sessions, and where the root is 0 (returns of two values can have that) or is too
        large for a float.
    """
    spread = 1.0 - skew * sharpe + (kurtosis + 2.0) / 4.0 * sharpe * sharpe
    if sessions < 2 or not SMALLEST_SPREAD < spread < math.inf:
        return None
    return _NORMAL.cdf((sharpe - threshold) * math.sqrt(sessions - 1) / math.sqrt(spread))


def expected_maximum_sharpe(trials: int, variance: float) -> float | None:
    """Sharpe ratio that the best of many independent trials is expected to have where the true one of each is 0.

    √variance × ((1 − γ) × Φ⁻¹(1 − 1 ÷ N) + γ × Φ⁻¹(1 − 1 ÷ (N × e))), γ = 0.5772…; 0 for one trial.

    Args:
        trials: N.
        variance: of the trials' Sharpe ratios, by session.

    Returns:
        by session, ≥ 0. ``None`` without a trial, and where the variance is negative.
    """
    if trials < 1 or variance < 0.0:
        return None
    if trials == 1:
        return 0.0
    # Φ⁻¹(1 − p) = −Φ⁻¹(p), which keeps its digits where p is small.
    quantiles = (1.0 - np.euler_gamma) * _NORMAL.inv_cdf(1.0 / trials)
    quantiles += np.euler_gamma * _NORMAL.inv_cdf(1.0 / (trials * math.e))
    return -math.sqrt(variance) * quantiles


def deflated_sharpe(
    sharpe: float, sessions: int, skew: float, kurtosis: float, trials: int, variance: float
) -> float | None:
    """Probability that the true Sharpe ratio of the best of many trials is above 0, given that it is the best of many.

    The probabilistic Sharpe ratio against the Sharpe ratio that the best is expected to have without any skill.

    Args:
        sharpe: of the best trial, by session.
        sessions: that it was seen in.
        skew: of its returns.
        kurtosis: of its returns, 0 for a normal distribution.
        trials: how many it was chosen from, itself included.
        variance: of the trials' Sharpe ratios, by session.

    Returns:
        0 to 1; ``None`` where one of the two is.
    """
    threshold = expected_maximum_sharpe(trials, variance)
    return None if threshold is None else probabilistic_sharpe(sharpe, sessions, skew, kurtosis, threshold)
