"""Sharpe ratios of the best of many: the paper's own example, what always holds, and trials that have no skill."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from framework.report import metrics

#: By session.
SHARPES = st.floats(-0.5, 0.5)
SHAPES = st.tuples(st.floats(-3, 3), st.floats(0, 30)).filter(lambda shape: shape[1] + 2 >= shape[0] ** 2)
SESSIONS = st.integers(2, 5000)
TRIALS = st.integers(1, 10**9)
VARIANCES = st.floats(0, 0.1)


def test_the_example_of_the_paper():
    """The Deflated Sharpe Ratio, "A numerical example": 2.5 a year in five years of 250 days, the best of 100.

    Its kurtosis of 10 is an excess of 7; the variance of the trials' ratios is 0.5, a year.
    """
    sharpe, variance = 2.5 / math.sqrt(250), 0.5 / 250
    assert metrics.expected_maximum_sharpe(100, variance) == pytest.approx(0.1132, abs=5e-5)
    assert metrics.deflated_sharpe(sharpe, 1250, -3.0, 7.0, 100, variance) == pytest.approx(0.9004, abs=5e-5)
    # With 46 trials it would have been 0.95; without any choice, almost certain.
    assert metrics.deflated_sharpe(sharpe, 1250, -3.0, 7.0, 46, variance) == pytest.approx(0.95, abs=1e-3)
    assert metrics.probabilistic_sharpe(sharpe, 1250, -3.0, 7.0) > 0.9999


def test_of_normal_returns_by_hand():
    got = metrics.probabilistic_sharpe(0.1, 101, 0.0, 0.0, threshold=0.05)
    assert got == pytest.approx(scipy.stats.norm.cdf(0.05 * 10 / math.sqrt(1 + 0.1**2 / 2)))
    assert metrics.probabilistic_sharpe(0.1, 101, 0.0, 0.0, threshold=0.1) == 0.5


@pytest.mark.parametrize(("trials", "tolerance"), [(5, 0.05), (100, 0.02), (1000, 0.02)])
def test_the_best_of_normal_ratios_is_as_high_as_expected(trials, tolerance):
    drawn = np.random.default_rng(5).normal(0.0, 0.03, (4000, trials)).max(axis=1).mean()
    assert metrics.expected_maximum_sharpe(trials, 0.03**2) == pytest.approx(drawn, rel=tolerance)


def test_too_little_to_say():
    assert metrics.probabilistic_sharpe(0.1, 1, 0.0, 0.0) is None
    assert metrics.probabilistic_sharpe(1.0, 100, 2.0, 2.0) is None  # returns of two values: the root is 0
    assert metrics.probabilistic_sharpe(1e200, 100, 0.0, 0.0) is None
    assert metrics.expected_maximum_sharpe(0, 0.1) is None
    assert metrics.expected_maximum_sharpe(5, -0.1) is None
    assert metrics.expected_maximum_sharpe(1, 0.1) == 0.0
    assert metrics.deflated_sharpe(0.1, 100, 0.0, 0.0, 0, 0.1) is None
    assert metrics.deflated_sharpe(0.1, 1, 0.0, 0.0, 5, 0.1) is None


@given(SHARPES, SESSIONS, SHAPES, TRIALS, VARIANCES)
def test_a_probability_that_more_trials_make_smaller(sharpe, sessions, shape, trials, variance):
    got = metrics.deflated_sharpe(sharpe, sessions, *shape, trials, variance)
    alone = metrics.probabilistic_sharpe(sharpe, sessions, *shape)
    assert (got is None) == (alone is None)
    if got is None or alone is None:
        return
    assert 0 <= got <= alone <= 1
    more = metrics.deflated_sharpe(sharpe, sessions, *shape, trials + 1, variance)
    wider = metrics.deflated_sharpe(sharpe, sessions, *shape, trials, 2 * variance)
    assert more is not None
    assert wider is not None
    assert max(more, wider) <= got + 1e-12
    assert metrics.deflated_sharpe(sharpe, sessions, *shape, 1, variance) == alone


@given(SHARPES, SESSIONS, SHAPES, st.floats(-0.5, 0.5))
def test_a_lower_threshold_is_passed_more_likely(sharpe, sessions, shape, threshold):
    high, low = (metrics.probabilistic_sharpe(sharpe, sessions, *shape, t) for t in (threshold, threshold - 0.1))
    assert (high is None) == (low is None)
    if high is not None and low is not None:
        assert high <= low
        assert (high > 0.5) == (sharpe > threshold) or high == 0.5


@given(TRIALS, VARIANCES)
def test_the_expected_best_is_a_number_from_zero_on(trials, variance):
    got = metrics.expected_maximum_sharpe(trials, variance)
    assert got is not None
    assert type(got) is float
    assert 0 <= got <= metrics.expected_maximum_sharpe(trials + 1, variance) + 1e-12


def best_of(trials, sessions, rng):
    """The deflated Sharpe ratio of the best of trials whose returns have no mean and fat tails."""
    returns = rng.standard_t(5, (trials, sessions)) * 0.01
    sharpes = returns.mean(axis=1) / returns.std(axis=1, ddof=1)
    best = returns[sharpes.argmax()]
    shape = metrics.skew(best), metrics.kurtosis(best)
    return metrics.deflated_sharpe(sharpes.max(), sessions, *shape, trials, sharpes.var(ddof=1))


@pytest.mark.parametrize("trials", [10, 100])
def test_the_best_without_skill_is_seldom_taken_for_skill(trials):
    rng = np.random.default_rng(11)
    deflated = np.array([best_of(trials, 500, rng) for _ in range(200)])
    assert np.mean(deflated > 0.95) <= 0.05
    assert 0.3 < np.median(deflated) < 0.7
