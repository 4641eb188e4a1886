"""What our metrics have in common with empyrical is equal to it, on random series and on real prices.

Two numbers are equal here if they differ by at most 1e-10 of empyrical's, or by 1e-10, whichever is larger. What is
undefined here is NaN or infinite there; the other edge cases, where the two differ on purpose (docs/metrics.md), are in
``test_metrics_edges.py``.
"""

from __future__ import annotations

import csv
import gzip
import warnings
from pathlib import Path
from typing import Any

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.lib.stride_tricks import sliding_window_view
from scipy import stats

from framework.report import metrics

SAMPLE = next((Path(__file__).parents[2] / "plugins" / "data_sources" / "sample").glob("*.csv.gz"))
TICKERS = ["AAPL", "GOOG", "IBM", "MSFT"]

#: empyrical's name of a calendar, and its sessions a year.
PERIODS = {"daily": 252, "weekly": 52, "monthly": 12, "quarterly": 4}

#: Whole basis points, so that a figure does not depend on digits that rounding has eaten; often nothing moves.
POINTS = st.just(0.0) | st.integers(-5000, 5000).map(lambda points: points / 10_000)

RETURNS: st.SearchStrategy[Any] = arrays(np.float64, st.integers(1, 60), elements=POINTS)


@st.composite
def pairs(draw):
    """Returns, and those of a benchmark that has gained and lost."""
    benchmark = np.concatenate(([-0.2, 0.2], draw(arrays(np.float64, st.integers(0, 58), elements=POINTS))))
    return draw(arrays(np.float64, len(benchmark), elements=POINTS)), benchmark


#: Of one series: ours, theirs.
OF_RETURNS = {
    "total_return": (metrics.total_return, empyrical.cum_returns_final),
    "return_index": (lambda r: metrics.return_index(r) - 1.0, empyrical.cum_returns),
    "drawdown": (lambda r: metrics.drawdown(metrics.return_index(r)), empyrical.stats.drawdown_series),
    "max_drawdown": (metrics.max_drawdown, empyrical.max_drawdown),
    "omega": (metrics.omega, empyrical.omega_ratio),
    "tail_ratio": (metrics.tail_ratio, empyrical.tail_ratio),
    "value_at_risk": (metrics.value_at_risk, empyrical.value_at_risk),
    "conditional_value_at_risk": (metrics.conditional_value_at_risk, empyrical.conditional_value_at_risk),
    "stability": (metrics.stability, empyrical.stability_of_timeseries),
    "skew": (metrics.skew, stats.skew),
    "kurtosis": (metrics.kurtosis, stats.kurtosis),
}
#: Of two series.
OF_PAIRS = {
    "beta": (metrics.beta, empyrical.beta),
    "information_ratio": (metrics.information_ratio, empyrical.excess_sharpe),
}
#: Of one series and the sessions of a year.
OF_RETURNS_A_YEAR = {
    "cagr": (metrics.cagr, empyrical.cagr),
    "volatility": (metrics.volatility, empyrical.annual_volatility),
    "sharpe": (metrics.sharpe, empyrical.sharpe_ratio),
    "sortino": (metrics.sortino, empyrical.sortino_ratio),
    "calmar": (metrics.calmar, empyrical.calmar_ratio),
    "downside_risk": (metrics.downside_risk, empyrical.downside_risk),
}
#: Of two series and the sessions of a year.
OF_PAIRS_A_YEAR = {
    "alpha": (metrics.alpha, empyrical.alpha),
    "tracking_error": (metrics.tracking_error, lambda r, b, period: empyrical.annual_volatility(r - b, period)),
    "up_capture": (metrics.up_capture, empyrical.up_capture),
    "down_capture": (metrics.down_capture, empyrical.down_capture),
}

#: Where ours is undefined on purpose, whatever empyrical makes of it; of equal returns, its versions make either.
UNDEFINED = {
    "sharpe": lambda r: np.ptp(r) == 0.0,
    "tail_ratio": lambda r: abs(np.percentile(r, 5)) <= 1e-12,
    "stability": lambda r: not r[1:].any(),
    "information_ratio": lambda r, b: np.ptp(r - b) <= 1e-12,
}


def theirs(function, *series, **options):
    """empyrical's answer, NaN where it is infinite; of Series, which all its versions take the same way."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # scipy's, of returns that are all equal
        found = np.asarray(function(*(pd.Series(values) for values in series), **options), dtype=float)
    return np.where(np.isfinite(found), found, np.nan)[()]


def agree(ours, found):
    """Both are undefined, or equal to 1e-10."""
    assert (np.nan if ours is None else ours) == pytest.approx(found, rel=1e-10, abs=1e-10, nan_ok=True)


def compounded(returns, sessions, unit):
    """Ours and empyrical's periods, and their returns."""
    series = pd.Series(returns, index=pd.DatetimeIndex(sessions))
    found = empyrical.aggregate_returns(series, {"M": "monthly", "Y": "yearly"}[unit])
    periods, ours = metrics.compounded(sessions, returns, unit)
    labels = [tuple(int(part) for part in str(period).split("-")) for period in periods]
    assert labels == [label if isinstance(label, tuple) else (label,) for label in found.index]
    return ours, found.to_numpy()


def check_rolling(returns, window, period):
    rolling, full = metrics.rolling(returns, window, PERIODS[period]), slice(window - 1, None)
    windows = sliding_window_view(returns, window)
    agree(rolling.total_return[full], np.array([empyrical.cum_returns_final(values) for values in windows]))
    agree(rolling.volatility[full], theirs(empyrical.roll_annual_volatility, returns, window=window, period=period))
    sharpe = theirs(empyrical.roll_sharpe_ratio, returns, window=window, period=period)
    agree(rolling.sharpe[full], np.where(np.ptp(windows, axis=1) == 0.0, np.nan, sharpe))


# --- random series -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OF_RETURNS)
@given(returns=RETURNS)
@settings(deadline=None, max_examples=50)
def test_of_random_returns(name, returns):
    ours, function = OF_RETURNS[name]
    if name in UNDEFINED and UNDEFINED[name](returns):
        assert ours(returns) is None
    else:
        agree(ours(returns), theirs(function, returns))


@pytest.mark.parametrize("name", OF_RETURNS_A_YEAR)
@given(returns=RETURNS, period=st.sampled_from(list(PERIODS)))
@settings(deadline=None, max_examples=50)
def test_of_random_returns_a_year(name, returns, period):
    ours, function = OF_RETURNS_A_YEAR[name]
    if name in UNDEFINED and UNDEFINED[name](returns):
        assert ours(returns, PERIODS[period]) is None
    else:
        agree(ours(returns, PERIODS[period]), theirs(function, returns, period=period))


@pytest.mark.parametrize("name", OF_PAIRS)
@given(pair=pairs())
@settings(deadline=None, max_examples=50)
def test_of_random_pairs(name, pair):
    ours, function = OF_PAIRS[name]
    if name in UNDEFINED and UNDEFINED[name](*pair):
        assert ours(*pair) is None
    else:
        agree(ours(*pair), theirs(function, *pair))


@pytest.mark.parametrize("name", OF_PAIRS_A_YEAR)
@given(pair=pairs(), period=st.sampled_from(list(PERIODS)))
@settings(deadline=None, max_examples=50)
def test_of_random_pairs_a_year(name, pair, period):
    ours, function = OF_PAIRS_A_YEAR[name]
    found = theirs(function, *pair, period=period)
    if name == "alpha" and np.mean(pair[0] - metrics.beta(*pair) * pair[1]) <= -1.0:
        found = -1.0  # there, a power of a negative number
    agree(ours(*pair, PERIODS[period]), found)


@given(returns=RETURNS, window=st.integers(2, 20), period=st.sampled_from(list(PERIODS)))
@settings(deadline=None, max_examples=50)
def test_rolling_of_random_returns(returns, window, period):
    if len(returns) >= window:
        check_rolling(returns, window, period)
    else:
        assert np.isnan(metrics.rolling(returns, window, PERIODS[period]).sharpe).all()


@given(returns=RETURNS, step=st.integers(1, 40), unit=st.sampled_from(["M", "Y"]))
@settings(deadline=None, max_examples=50)
def test_months_and_years_of_random_returns(returns, step, unit):
    sessions = np.datetime64("2004-11-29") + step * np.arange(len(returns))
    agree(*compounded(returns, sessions, unit))


# --- real prices ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def closes():
    """Adjusted closes of the sample by session, on the sessions that all four stocks have: 2004 to 2013."""
    with gzip.open(SAMPLE, "rt") as file:
        rows = [(row["Date"], row["Ticker"], float(row["Adj Close"])) for row in csv.DictReader(file)]
    table = pd.DataFrame(rows, columns=["date", "ticker", "close"]).pivot(
        index="date", columns="ticker", values="close"
    )
    table = table[TICKERS].dropna()
    table.index = pd.DatetimeIndex(table.index)
    assert len(table) > 2000
    return table


@pytest.fixture(params=TICKERS)
def real(request, closes):
    """Returns of one stock, and of the mean of all as its benchmark."""
    returns = metrics.price_returns(closes.to_numpy())
    return returns[:, TICKERS.index(request.param)].copy(), returns.mean(axis=1)


@pytest.mark.parametrize("name", [*OF_RETURNS, *OF_PAIRS])
def test_of_real_returns(name, real):
    ours, function = {**OF_RETURNS, **OF_PAIRS}[name]
    series = real if name in OF_PAIRS else real[:1]
    found = theirs(function, *series)
    assert np.isfinite(found).all()
    agree(ours(*series), found)


@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize("name", [*OF_RETURNS_A_YEAR, *OF_PAIRS_A_YEAR])
def test_of_real_returns_a_year(name, period, real):
    ours, function = {**OF_RETURNS_A_YEAR, **OF_PAIRS_A_YEAR}[name]
    series = real if name in OF_PAIRS_A_YEAR else real[:1]
    found = theirs(function, *series, period=period)
    assert np.isfinite(found)
    agree(ours(*series, PERIODS[period]), found)


@pytest.mark.parametrize("window", [21, 63, 252])
def test_rolling_of_real_returns(window, real):
    check_rolling(real[0], window, "daily")


@pytest.mark.parametrize("unit", ["M", "Y"])
def test_months_and_years_of_real_returns(unit, real, closes):
    agree(*compounded(real[0], closes.index[1:].to_numpy().astype("datetime64[D]"), unit))


def test_returns_and_volatility_of_real_tickers(closes):
    returns = metrics.price_returns(closes.to_numpy())
    agree(returns, empyrical.simple_returns(closes).to_numpy())
    agree(metrics.column_volatility(returns), empyrical.annual_volatility(pd.DataFrame(returns)))
