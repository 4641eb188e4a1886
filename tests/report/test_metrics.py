import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from framework.report import metrics

returns: st.SearchStrategy[Any] = arrays(np.float64, st.integers(2, 60), elements=st.floats(-0.2, 0.2))


def test_hand_computed_figures():
    values = np.array([110.0, 99.0, 118.8])
    r = metrics.period_returns(values, 100.0)
    assert r == pytest.approx([0.1, -0.1, 0.2], abs=1e-15)
    figures = metrics.figures(r)
    assert figures.total_return == pytest.approx(0.188)
    assert figures.cagr == pytest.approx(1.188**84 - 1)
    deviation = math.sqrt((0.1**2 + 0.1**2 + 0.2**2 - 3 * (0.2 / 3) ** 2) / 2)
    assert figures.volatility == pytest.approx(deviation * math.sqrt(252))
    assert figures.sharpe == pytest.approx(0.2 / 3 / deviation * math.sqrt(252))
    assert figures.sortino == pytest.approx(0.2 / 3 / math.sqrt(0.01 / 3) * math.sqrt(252))
    assert figures.max_drawdown == pytest.approx(-0.1)
    assert figures.calmar == pytest.approx((1.188**84 - 1) / 0.1)


def test_money_paid_in_is_no_return():
    r = metrics.period_returns(np.array([100.0, 160.0, 80.0]), 100.0, np.array([0.0, 50.0, -80.0]))
    assert r == pytest.approx([0.0, 160 / 150 - 1, 0.0])


@pytest.mark.parametrize("values", [[100.0], [100.0, 100.0, 100.0]])
def test_flat_has_no_ratios_and_no_drawdown(values):
    figures = metrics.figures(metrics.period_returns(np.array(values), 100.0))
    assert (figures.total_return, figures.cagr, figures.max_drawdown) == (0.0, 0.0, 0.0)
    assert figures.sharpe is figures.sortino is figures.calmar is None
    assert figures.volatility == (None if len(values) == 1 else 0.0)


def test_no_session_at_all():
    figures = metrics.figures(np.empty(0))
    assert figures == metrics.Figures(0.0, None, None, None, None, 0.0, None)


@pytest.mark.parametrize("last", [0.0, -5.0])
def test_total_loss_stays_lost(last):
    r = metrics.period_returns(np.array([50.0, last, 20.0, 40.0]), 100.0)
    assert r[2:].tolist() == [0.0, 0.0]
    figures = metrics.figures(r)
    assert figures.total_return == pytest.approx(last / 100 - 1)
    assert figures.cagr == -1.0
    assert figures.max_drawdown == pytest.approx(last / 100 - 1)


def test_a_growth_rate_too_large_for_a_float_is_undefined():
    assert metrics.cagr(np.array([1000.0])) is None
    assert metrics.calmar(np.array([1000.0])) is None


def test_constant_returns_have_no_sharpe():
    assert metrics.volatility(np.full(10, 0.001)) == 0.0
    assert metrics.sharpe(np.full(10, 0.001)) is None


@given(returns)
@settings(max_examples=60, deadline=None)
def test_same_as_pandas(r):
    series = pd.Series(r)
    if r.min() != r.max():
        assert metrics.volatility(r) == pytest.approx(series.std() * math.sqrt(252), rel=1e-9, abs=1e-12)
        if series.std() > 1e-9:
            assert metrics.sharpe(r) == pytest.approx(series.mean() / series.std() * math.sqrt(252), rel=1e-6, abs=1e-9)
    index = (1 + series).cumprod()
    assert metrics.return_index(r) == pytest.approx(index.to_numpy(), rel=1e-12)
    peak = np.maximum(index.cummax().to_numpy(), 1.0)
    assert metrics.max_drawdown(r) == pytest.approx(np.min(index.to_numpy() / peak) - 1, abs=1e-12)


@given(returns, st.integers(2, 10))
@settings(max_examples=60, deadline=None)
def test_rolling_same_as_pandas(r, window):
    got, series = metrics.rolling(r, window), pd.Series(r)
    wanted = (1 + series).rolling(window).apply(np.prod, raw=True) - 1
    np.testing.assert_allclose(got.total_return, wanted, rtol=1e-9, atol=1e-12)
    by_hand = [np.nan if i + 1 < window else np.std(r[i + 1 - window : i + 1], ddof=1) for i in range(len(r))]
    np.testing.assert_allclose(got.volatility, np.array(by_hand) * math.sqrt(252), rtol=1e-9, atol=1e-12)
    assert np.isnan(got.sharpe[: window - 1]).all()


@given(returns)
@settings(max_examples=100, deadline=None)
def test_worst_drawdowns_are_real_and_apart(r):
    index = metrics.return_index(r)
    falls = metrics.worst_drawdowns(index, count=99)
    assert [fall.depth for fall in falls] == sorted(fall.depth for fall in falls)
    if metrics.max_drawdown(r) < -1e-9:
        assert falls[0].depth == metrics.max_drawdown(r)
    else:
        assert falls == []
    rows: list[int] = []
    for fall in falls:
        end = len(index) if fall.recovery is None else fall.recovery
        assert fall.peak < fall.trough < end
        high = 1.0 if fall.peak < 0 else max(1.0, index[fall.peak])
        assert fall.depth == pytest.approx(index[fall.trough] / high - 1, abs=1e-9)
        assert index[fall.trough] == pytest.approx(index[fall.peak + 1 : end].min(), rel=1e-12)
        rows += range(fall.peak + 1, end)
    assert len(rows) == len(set(rows))


def test_compounded_by_month_and_year():
    sessions = np.array(["2005-01-31", "2005-02-01", "2005-02-28", "2006-01-02"], dtype="datetime64[D]")
    r = np.array([0.1, 0.1, 0.1, -0.5])
    months, got = metrics.compounded(sessions, r, "M")
    assert months.astype(str).tolist() == ["2005-01", "2005-02", "2006-01"]
    assert got == pytest.approx([0.1, 0.21, -0.5])
    years, got = metrics.compounded(sessions, r, "Y")
    assert years.astype(str).tolist() == ["2005", "2006"]
    assert got == pytest.approx([0.331, -0.5])
    assert len(metrics.compounded(sessions[:0], r[:0], "M")[1]) == 0


def test_turnover_and_exposure():
    equity, gross = np.array([100.0, 300.0]), np.array([50.0, 300.0])
    assert metrics.turnover(400.0, equity, 126) == pytest.approx(4.0)
    assert metrics.exposure(gross, equity) == pytest.approx(0.75)
    assert metrics.turnover(400.0, -equity, 126) is None
    assert metrics.turnover(0.0, equity, 0) is None
    assert metrics.exposure(gross, np.array([0.0, -1.0])) is None
    assert metrics.exposure(gross, np.array([0.0, 300.0])) == pytest.approx(1.0)


def test_risk_of_tickers_leaves_out_what_is_unknown():
    closes = np.array([[np.nan, 10.0, 5.0], [1.0, 11.0, 5.0], [2.0, 10.0, 5.0], [1.0, 11.0, 5.0]])
    r = metrics.price_returns(closes)
    spread = metrics.column_volatility(r)
    assert spread[0] == pytest.approx(np.std([1.0, -0.5], ddof=1) * math.sqrt(252))
    assert spread[2] == 0.0
    related = metrics.correlation(r)
    assert related[0, 1] == pytest.approx(-1.0)
    assert np.isnan(related[0, 2])
    assert np.isnan(metrics.column_volatility(r[:1])).all()
    assert metrics.price_returns(closes[:1]).shape == (0, 3)
