import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from framework.report import metrics

DAY = np.timedelta64(1, "D")

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


def days(first, last, kind="D"):
    """Dates from ``first`` to ``last``, both included: one each day, week or month."""
    end = np.datetime64(last, kind) + np.timedelta64(1, kind)
    return np.arange(np.datetime64(first, kind), end).astype("datetime64[D]")


def weekdays(first, last, holidays=()):
    every = days(first, last)
    return every[np.is_busday(every, holidays=list(holidays))]


#: Nine days a year, spread over it, on which an exchange stays closed.
HOLIDAYS = [
    np.busday_offset(f"{year}-{month:02d}-10", 0, "forward") for year in range(2000, 2020) for month in range(1, 10)
]


@pytest.mark.parametrize(
    ("sessions", "wanted"),
    [
        (weekdays("2003-01-01", "2012-12-31", HOLIDAYS), 252),
        (weekdays("2003-01-01", "2003-12-31", HOLIDAYS), 252),
        (weekdays("2003-01-01", "2012-12-31"), 261),
        (days("2021-01-01", "2021-12-31"), 365),
        (days("2020-01-01", "2023-12-31"), 365),
        (days("2021-01-01", "2021-12-31", "W"), 52),
        (days("2003-01-01", "2012-12-31", "W"), 52),
        (days("2003-01", "2012-12", "M"), 12),
    ],
)
def test_a_year_has_as_many_sessions_as_the_calendar_shows(sessions, wanted):
    assert metrics.sessions_per_year(sessions) == wanted


def test_an_unusual_calendar_is_counted_as_it_is():
    every = weekdays("2003-01-01", "2012-12-31")
    week = (every - np.datetime64("2003-01-06")).astype(int) % 7
    assert metrics.sessions_per_year(every[week < 3]) == pytest.approx(3 * 365.25 / 7, rel=1e-3)
    assert metrics.sessions_per_year(days("2003-01", "2012-12", "M")[::3]) == pytest.approx(4, rel=0.01)


@pytest.mark.parametrize(
    ("sessions", "wanted"),
    [
        (days("2021-01-01", "2021-01-01")[:0], 252),
        (days("2021-01-01", "2021-01-01"), 252),
        (days("2021-01-01", "2021-01-28"), 252),
        (days("2021-01-01", "2021-01-29"), 365),
        (days("2021-01-01", "2021-12-31", "W")[:19], 252),
        (days("2021-01-01", "2021-12-31", "W")[:20], 52),
        (np.repeat(np.datetime64("2021-01-01"), 30), 252),
    ],
)
def test_too_short_a_time_shows_no_calendar(sessions, wanted):
    assert metrics.sessions_per_year(sessions) == wanted


@pytest.mark.parametrize("length", [25, 42, 63, 126, 200])
def test_a_part_of_an_exchange_year_is_252(length):
    every = weekdays("2003-01-01", "2012-12-31", HOLIDAYS)
    found = {metrics.sessions_per_year(every[start : start + length]) for start in range(0, len(every) - length, 7)}
    assert found <= {252} if length >= 42 else 252 in found


def test_a_gap_in_the_data_does_not_speed_up_the_growth():
    sessions = np.concatenate((weekdays("2005-01-03", "2005-12-30"), weekdays("2008-01-01", "2008-12-31")))
    per_year = metrics.sessions_per_year(sessions)
    assert per_year == pytest.approx((len(sessions) - 1) / ((sessions[-1] - sessions[0]) / DAY / 365.25))
    r = np.full(len(sessions), 2.0 ** (1 / len(sessions)) - 1)
    assert metrics.cagr(r, per_year) == pytest.approx(2.0 ** (1 / 4) - 1, rel=0.01)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=80, unique=True))
@settings(max_examples=200, deadline=None)
def test_sessions_a_year_are_counted_or_usual_whatever_the_dates(offsets):
    sessions = np.datetime64("2005-01-03") + np.sort(np.array(offsets)) * DAY
    got = metrics.sessions_per_year(sessions)
    span = max(offsets) - min(offsets)
    if len(offsets) < 20 or span < 28:
        assert got == 252
        return
    counted = (len(offsets) - 1) / (span / 365.25)
    if len(offsets) < 252 and abs(counted / 252 - 1) <= 0.1:
        assert got == 252
        return
    near = [usual for usual in (252, 365, 261, 52, 12) if abs(counted / usual - 1) <= 0.04]
    assert got == pytest.approx(min(near, key=lambda usual: abs(counted - usual), default=counted))


@pytest.mark.parametrize(("sessions", "per_year", "grown"), [(365, 365, 0.996), (52, 52, 0.098), (12, 12, 0.5)])
def test_a_year_of_any_calendar_grows_by_what_it_grew(sessions, per_year, grown):
    r = np.full(sessions, (1 + grown) ** (1 / sessions) - 1)
    assert metrics.cagr(r, per_year) == pytest.approx(grown)


@given(returns, st.floats(1, 366))
@settings(max_examples=60, deadline=None)
def test_every_figure_is_annualised_with_the_number_given(r, per_year):
    usual, got = metrics.figures(r), metrics.figures(r, per_year)
    assert (got.total_return, got.max_drawdown) == (usual.total_return, usual.max_drawdown)
    assert got.cagr == metrics.cagr(r, per_year)
    assert got.calmar == metrics.calmar(r, per_year)
    if got.cagr is not None and got.max_drawdown < -1e-9:
        assert got.calmar == pytest.approx(got.cagr / -got.max_drawdown)
    scale = math.sqrt(per_year / 252)
    for name in ("volatility", "sharpe", "sortino"):
        value, other = getattr(got, name), getattr(usual, name)
        assert value == (None if other is None else pytest.approx(other * scale, rel=1e-9))
    window, same = metrics.rolling(r, 2, per_year), metrics.rolling(r, 2)
    np.testing.assert_array_equal(window.total_return, same.total_return)
    np.testing.assert_allclose(window.volatility, same.volatility * scale, rtol=1e-9)
    np.testing.assert_allclose(window.sharpe, same.sharpe * scale, rtol=1e-9)
    column = r[:, np.newaxis]
    assert metrics.column_volatility(column, per_year) == pytest.approx(metrics.column_volatility(column) * scale)


def test_turnover_of_another_calendar():
    equity = np.array([100.0, 300.0])
    assert metrics.turnover(400.0, equity, 26, 52) == pytest.approx(4.0)


def test_an_account_that_gets_its_money_later_begins_then():
    values = np.array([0.0, 0.0, 110.0, 99.0])
    r = metrics.period_returns(values, 0.0, np.array([0.0, 0.0, 100.0, 0.0]))
    assert r == pytest.approx([0.0, 0.0, 0.1, -0.1])
    assert metrics.period_returns(values, 0.0).tolist() == [0.0] * 4


@pytest.mark.parametrize("ruined", [0.0, -20.0])
def test_new_money_revives_an_account_that_was_wiped_out(ruined):
    values = np.array([50.0, ruined, ruined, ruined + 110.0, ruined + 121.0])
    flows = np.array([0.0, 0.0, 0.0, 100.0, 0.0])
    r = metrics.period_returns(values, 100.0, flows)
    wanted = [-0.5, ruined / 50 - 1, 0.0, values[3] / (ruined + 100) - 1, values[4] / values[3] - 1]
    assert r == pytest.approx(wanted)
    assert metrics.total_return(r) == pytest.approx(ruined / 100 - 1)
    assert metrics.return_index(r)[1:] == pytest.approx([ruined / 100] * 4)


def test_money_that_does_not_cover_the_debt_revives_nothing():
    r = metrics.period_returns(np.array([-50.0, -20.0, 40.0, 30.0]), 100.0, np.array([0.0, 30.0, 0.0, 0.0]))
    assert r.tolist() == [-1.5, 0.0, 0.0, 0.0]


def test_an_account_that_was_emptied_waits_for_money():
    r = metrics.period_returns(np.array([0.0, 0.0, 55.0]), 100.0, np.array([-100.0, 0.0, 50.0]))
    assert r == pytest.approx([0.0, 0.0, 0.1])


money: st.SearchStrategy[Any] = st.lists(
    st.tuples(st.sampled_from([-5.0, 0.0, 1.0, 40.0, 90.0, 130.0]), st.sampled_from([0.0, 0.0, 0.0, 50.0, -40.0])),
    min_size=1,
    max_size=12,
)


@given(st.sampled_from([0.0, 100.0]), money)
@settings(max_examples=300, deadline=None)
def test_returns_with_flows_are_those_of_a_loop(opening, rows):
    wanted, before, lost = [], opening, False
    for value, flow in rows:
        base = before + flow
        if base > 0 and flow > 0:
            lost = False
        wanted.append(value / base - 1 if base > 0 and not lost else 0.0)
        lost = lost or value <= 0
        before = value
    values, flows = (np.array(column) for column in zip(*rows, strict=True))
    assert metrics.period_returns(values, opening, flows).tolist() == wanted


def test_a_session_with_flows_inside_is_measured_in_parts():
    """10 % on 100, then 900 come, then 10 % are lost on 1010: nearly nothing in all, whatever the money says."""
    values, flows = np.array([110.0, 1010.0, 909.0, 1000.0]), np.array([0.0, 900.0, 0.0, 0.0])
    r = metrics.session_returns(values, 100.0, flows, np.array([2, 3]))
    assert r == pytest.approx([1.1 * 0.9 - 1, 1000 / 909 - 1])


@given(st.data(), st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_sessions_chain_the_returns_of_their_bars(data, size):
    draw = lambda low, high: np.array(data.draw(st.lists(st.floats(low, high), min_size=size, max_size=size)))  # noqa: E731
    values, flows = draw(50.0, 150.0), draw(-20.0, 40.0) * (draw(0.0, 1.0) > 0.6)
    ends = np.flatnonzero(draw(0.0, 1.0) > 0.5)
    ends = np.union1d(ends, [size - 1])
    whole = metrics.period_returns(values, 100.0, flows)
    starts = np.concatenate(([0], ends[:-1] + 1))
    wanted = np.multiply.reduceat(1 + whole, starts) - 1
    assert metrics.session_returns(values, 100.0, flows, ends) == pytest.approx(wanted, abs=1e-12)
    still = metrics.session_returns(values, 100.0, np.zeros(size), ends)
    assert still.tolist() == metrics.period_returns(values[ends], 100.0).tolist()


@given(returns, st.floats(-50.0, 1000.0))
@settings(max_examples=60, deadline=None)
def test_money_in_a_benchmark_earns_its_returns(r, flow):
    flows = np.zeros(len(r))
    flows[len(r) // 2] = flow
    worth = metrics.invested(r, 100.0, flows)
    if (worth > 0).all():
        assert metrics.period_returns(worth, 100.0, flows) == pytest.approx(r, abs=1e-9)
    assert metrics.invested(r, 100.0, np.zeros(len(r))) == pytest.approx(100.0 * metrics.return_index(r))
