"""The bundled allocators: what they give out, to whom, and what they make of portfolios of which nothing is known."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose

from framework.errors import AllocationError, ConfigError
from tests.plugins.allocation import MANAGER, NAN, covariance_of, make, returns_with, state, weights

#: Of every kind, with lookbacks that the drawn histories are shorter and longer than.
SHORT = {"lookback": 12, "minimum": 4}
GIVES_ALL = [
    ("equal", {}),
    ("inverse_volatility", SHORT),
    ("risk_parity", SHORT),
    ("risk_parity", {**SHORT, "budgets": {"1": 3.0, "2": 1.0, "3": 0.01, "4": 1.0, "5": 7.0, "6": 1.0}}),
]
KEEPS_SOME = [
    ("daily", {"weights": {"1": 0.5, "2": 0.0, "3": 0.25, "4": 0.1, "5": 0.05, "6": 0.1}}),
    ("drawdown_scaled", {"lookback": 12}),
    ("drawdown_scaled", {"weights": {"1": 0.5, "2": 0.0, "3": 0.2, "4": 0.1, "5": 0.05, "6": 0.1}, "lookback": 12}),
]
EVERY = GIVES_ALL + KEEPS_SOME

WALK = np.random.default_rng(3).normal(0.0, 0.01, (80, 5))


def listing_of(name, params, count):
    """The parameters for the first ``count`` portfolios: of some, each portfolio must be named."""
    return {
        key: {name: value for name, value in values.items() if int(name) <= count}
        if isinstance(values, dict)
        else values
        for key, values in params.items()
    }


ANY = st.floats(-0.5, 0.5)
BASIS_POINTS = st.integers(-5000, 5000).map(lambda number: number / 1e4)


@st.composite
def histories(draw, moves=ANY):
    """Returns ``(T, N)`` with gaps, flat stretches, and portfolios that came late."""
    shape = (draw(st.integers(0, 20)), draw(st.integers(1, 6)))
    moves = st.one_of(moves, st.just(NAN), st.just(0.0), st.sampled_from([0.01, -0.02, -1.0]))
    returns = draw(hnp.arrays(np.float64, shape, elements=moves))
    for column, rows in enumerate(draw(st.lists(st.integers(0, 20), max_size=shape[1]))):
        returns[:rows, column] = NAN
    return returns


TOTALS = st.one_of(st.just(0.0), st.floats(0.01, 1e12))


def test_these_allocators_come_with_the_package():
    names = [item.name for item in MANAGER.listing() if item.kind == "allocator"]
    assert names == ["daily", "drawdown_scaled", "equal", "inverse_volatility", "risk_parity", "skfolio"]
    assert MANAGER.failures() == ()


# --- what holds for all of them ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "params"), EVERY)
@settings(max_examples=60, deadline=None)
@given(returns=histories(), total=TOTALS)
def test_what_is_given_is_not_negative_and_not_more_than_there_is(name, params, returns, total):
    params = listing_of(name, params, returns.shape[1])
    given_out = make(name, **params).allocate(state(returns, total))
    assert given_out.shape == (returns.shape[1],)
    assert given_out.dtype == np.float64
    assert np.isfinite(given_out).all()
    assert (given_out >= 0.0).all()
    assert given_out.sum() <= total * (1.0 + 1e-9)


@pytest.mark.parametrize(("name", "params"), GIVES_ALL)
@settings(max_examples=60, deadline=None)
@given(returns=histories(), total=TOTALS)
def test_these_give_out_all_that_there_is(name, params, returns, total):
    allocator = make(name, **listing_of(name, params, returns.shape[1]))
    assert_allclose(allocator.allocate(state(returns, total)).sum(), total, rtol=1e-9)


@pytest.mark.parametrize(("name", "params"), EVERY)
@settings(max_examples=40, deadline=None)
@given(returns=histories(), data=st.data())
def test_the_order_of_portfolios_decides_nothing(name, params, returns, data):
    count = returns.shape[1]
    allocator = make(name, **listing_of(name, params, count))
    order = np.array(data.draw(st.permutations(range(count))), dtype=int)
    straight = allocator.allocate(state(returns))
    mixed = allocator.allocate(state(returns[:, order], portfolios=[str(place + 1) for place in order]))
    assert_allclose(mixed, straight[order], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(("name", "params"), EVERY)
@settings(max_examples=30, deadline=None)
@given(returns=histories(), factor=st.sampled_from([1e-3, 0.5, 3.0, 1e6]))
def test_with_more_money_all_get_more_alike(name, params, returns, factor):
    allocator = make(name, **listing_of(name, params, returns.shape[1]))
    assert_allclose(
        allocator.allocate(state(returns, 1000.0 * factor)), allocator.allocate(state(returns)) * factor, rtol=1e-12
    )


@pytest.mark.parametrize(("name", "params"), GIVES_ALL)
@settings(max_examples=30, deadline=None)
@given(returns=histories(BASIS_POINTS), factor=st.sampled_from([0.125, 4.0]))
def test_twice_the_swings_of_all_change_nothing(name, params, returns, factor):
    allocator = make(name, **listing_of(name, params, returns.shape[1]))
    assert_allclose(allocator.allocate(state(returns * factor)), allocator.allocate(state(returns)), rtol=1e-9)


@pytest.mark.parametrize(("name", "params"), EVERY)
def test_the_same_state_gives_the_same_bits_and_stays_as_it_is(name, params):
    params = listing_of(name, params, 5)
    seen = state(WALK)
    before = seen.returns.tobytes()
    first = make(name, **params)
    answers = {allocator.allocate(seen).tobytes() for allocator in (first, first, make(name, **params))}
    assert len(answers) == 1
    assert seen.returns.tobytes() == before
    assert first.allocate(seen) is not first.allocate(seen)
    # The layout of the history in memory is no part of it.
    other_layout = state(WALK)
    object.__setattr__(other_layout, "returns", np.asfortranarray(WALK))
    assert first.allocate(other_layout).tobytes() in answers


@pytest.mark.parametrize(("name", "params"), EVERY)
@pytest.mark.parametrize("total", [0.0, -50.0])
def test_where_there_is_nothing_nothing_is_given(name, params, total):
    seen = state(WALK, total, equity=[0.0] * 5)
    assert make(name, **listing_of(name, params, 5)).allocate(seen).tolist() == [0.0] * 5


@pytest.mark.parametrize(("name", "params"), GIVES_ALL)
def test_without_history_all_get_their_base_weight(name, params):
    params = listing_of(name, params, 4)
    budgets = np.array(list(params.get("budgets", {}).values()) or [1.0] * 4)
    unknown = [np.empty((0, 4)), np.zeros((12, 4)), np.full((12, 4), NAN), np.full((12, 4), 0.001), WALK[:3, :4]]
    for returns in [*unknown, WALK[:, :4] * 1e-9, WALK[:, :4] * 1e-160]:
        assert_allclose(make(name, **params).allocate(state(returns)), 1000.0 * budgets / budgets.sum())


@pytest.mark.parametrize(("name", "params"), GIVES_ALL)
@pytest.mark.parametrize("rows", [0, 3, 80])
def test_one_alone_gets_all(name, params, rows):
    allocated = make(name, **listing_of(name, params, 1)).allocate(state(WALK[:rows, :1], 123.0))
    assert_allclose(allocated, [123.0])


@pytest.mark.parametrize(("name", "params"), GIVES_ALL + KEEPS_SOME[1:2])
def test_a_portfolio_without_money_is_given_some(name, params):
    seen = state(np.column_stack([WALK[:, 0], np.full(80, NAN)]), equity=[700.0, 0.0])
    assert make(name, **listing_of(name, params, 2)).allocate(seen)[1] > 0.0


@pytest.mark.parametrize("name", ["inverse_volatility", "risk_parity", "drawdown_scaled"])
def test_only_the_lookback_counts(name):
    allocator = make(name, lookback=30)
    assert allocator.sessions() == 30
    noisy = np.vstack([np.full((7, 5), 0.9), WALK[-30:]])
    assert allocator.allocate(state(noisy)).tobytes() == allocator.allocate(state(WALK)).tobytes()


@pytest.mark.parametrize("name", ["daily", "equal"])
def test_no_history_is_asked_for_where_none_is_used(name):
    assert make(name, **({"weights": {"1": 1.0}} if name == "daily" else {})).sessions() == 0


# --- whom they list ------------------------------------------------------------------------------------------------

OFFERED = ("10", "2", "core", "3")


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("daily", {"weights": {"3": 0.2, "10": 0.3}}),
        ("equal", {"only": ["3", "10"]}),
        ("equal", {"only": [3, 10]}),  # YAML reads these as numbers
        ("inverse_volatility", {"only": ["3", "10"]}),
        ("risk_parity", {"only": ["3", "10"]}),
        ("risk_parity", {"budgets": {"3": 1, "10": 1}}),
        ("drawdown_scaled", {"only": ["3", "10"]}),
        ("drawdown_scaled", {"weights": {"3": 0.5, "10": 0.5}}),
    ],
)
def test_those_listed_are_in_the_order_of_the_config(name, listed):
    assert list(make(name, **listed).portfolios(OFFERED)) == ["10", "3"]


@pytest.mark.parametrize("name", ["equal", "inverse_volatility", "risk_parity", "drawdown_scaled"])
def test_without_a_list_all_take_part(name):
    assert list(make(name).portfolios(OFFERED)) == list(OFFERED)


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("daily", {"weights": {"croe": 0.2, "2": 0.3}}),
        ("equal", {"only": ["croe", "2"]}),
        ("risk_parity", {"budgets": {"croe": 1, "2": 1}}),
        ("drawdown_scaled", {"weights": {"croe": 0.5, "2": 0.5}}),
    ],
)
def test_one_that_is_not_on_offer_is_left_for_the_engine_to_refuse(name, listed):
    assert list(make(name, **listed).portfolios(OFFERED)) == ["2", "croe"]


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("daily", {}, "needs the parameter 'weights'"),
        ("daily", {"weights": {}}, "'weights' was empty; give at least one portfolio a weight"),
        ("daily", {"weights": {"1": 0.7, "2": 0.5}}, "'weights' add up to 1.2; allowed: at most 1"),
        ("daily", {"weights": {"1": 1.0, "2": 1e-8}}, "'weights' add up to 1.00000001; allowed: at most 1"),
        ("daily", {"weights": {"1": -0.1}}, "parameter 'weights' was -0.1: .* greater than or equal to 0"),
        ("daily", {"weights": {"1": NAN}}, "parameter 'weights' was nan"),
        ("daily", {"weights": {"1": float("inf")}}, "'weights' add up to inf"),
        ("daily", {"weights": {True: 0.1}}, "valid string"),
        ("equal", {"only": ["1", "2", "1"]}, "'only' lists '1' more than once"),
        ("equal", {"only": [1, "1"]}, "'only' lists '1' more than once"),
        ("equal", {"portfolios": ["1"]}, "has no parameter 'portfolios' .it has: only."),
        ("inverse_volatility", {"lookback": 10}, "'minimum' was 20, 'lookback' 10; minimum must not be above it"),
        ("inverse_volatility", {"minimum": 1}, "parameter 'minimum' was 1: .* greater than or equal to 2"),
        ("risk_parity", {"shrinkage": 1.1}, "parameter 'shrinkage' was 1.1: .* less than or equal to 1"),
        ("risk_parity", {"budgets": {"1": 0}}, "parameter 'budgets' was 0: .* greater than 0"),
        ("risk_parity", {"budgets": {"1": float("inf")}}, "'budgets' were .* allowed: finite numbers above 0"),
        (
            "risk_parity",
            {"budgets": {"1": 1}, "only": ["1"]},
            "'budgets' list the portfolios already; leave out 'only'",
        ),
        ("drawdown_scaled", {"weights": {"1": 1}, "only": ["1"]}, "'weights' list the portfolios already"),
        ("drawdown_scaled", {"weights": {"1": 1, "2": 1}}, "'weights' add up to 2; allowed: at most 1"),
        ("drawdown_scaled", {"start": 0.2}, "'start' was 0.2, 'stop' 0.2; start must be below"),
        ("drawdown_scaled", {"floor_weight": 1.5}, "parameter 'floor_weight' was 1.5"),
    ],
)
def test_a_wrong_parameter_is_named(name, params, said):
    with pytest.raises(ConfigError, match=said):
        make(name, **params)


# --- daily, equal --------------------------------------------------------------------------------------------------


def test_daily_gives_fixed_weights_in_the_order_of_the_state():
    allocator = make("daily", weights={1: 0.5, "b": 0.25})
    assert allocator.allocate(state(np.empty((0, 2)), 200.0, portfolios=["b", "1"])).tolist() == [50.0, 100.0]


def test_weights_that_are_over_one_by_rounding_give_what_there_is():
    tenths = {str(number): 0.1 + 1e-11 for number in range(10)}
    allocated = make("daily", weights=tenths).allocate(state(np.empty((0, 10)), 1e9, portfolios=tenths))
    assert_allclose(allocated, 1e8, rtol=1e-15)


def test_equal_splits():
    assert weights("equal", np.empty((0, 4))).tolist() == [0.25] * 4


# --- inverse volatility --------------------------------------------------------------------------------------------


def test_inverse_volatility_is_in_proportion_to_one_over_sigma():
    returns = WALK[-60:] * [1.0, 2.0, 3.0, 4.0, 5.0]
    inverse = 1.0 / returns.std(axis=0, ddof=1)
    assert_allclose(weights("inverse_volatility", returns), inverse / inverse.sum(), rtol=1e-12)


def test_each_sigma_is_of_the_returns_that_are_there():
    returns = WALK[-60:, :3].copy()
    returns[:25, 0] = returns[::7, 1] = NAN
    inverse = 1.0 / np.nanstd(returns, axis=0, ddof=1)
    assert_allclose(weights("inverse_volatility", returns), inverse / inverse.sum(), rtol=1e-12)


@pytest.mark.parametrize("what", ["none", "few", "flat", "cash", "rounded", "infinite"])
@pytest.mark.parametrize("name", ["inverse_volatility", "risk_parity"])
def test_of_whom_nothing_is_known_gets_an_equal_share_and_the_others_the_rest(name, what):
    returns = WALK[-60:, :4].copy()
    returns[:, 2] = {
        "none": np.full(60, NAN),
        "few": np.where(np.arange(60) >= 41, returns[:, 2], NAN),  # 19
        "flat": np.full(60, 0.0004),
        "cash": np.zeros(60),
        "rounded": 0.0004 + np.resize([0.0, 1e-9], 60),  # interest on a thousand, booked to 1e-6
        "infinite": np.full(60, np.inf),
    }[what]
    alone = weights(name, returns[:, [0, 1, 3]])
    given_out = weights(name, returns)
    assert given_out[2] == 0.25
    assert_allclose(given_out[[0, 1, 3]], 0.75 * alone, rtol=1e-12)
    # One return more, and it is weighed like the others.
    returns[:, 2] = np.where(np.arange(60) >= 40, WALK[-60:, 2], NAN)
    assert abs(weights(name, returns)[2] - 0.25) > 1e-3


# --- risk parity ---------------------------------------------------------------------------------------------------

SIGMA = np.array([0.005, 0.01, 0.02, 0.04])
MIXED = [[1, 0.8, -0.3, 0.1], [0.8, 1, -0.2, 0.0], [-0.3, -0.2, 1, 0.5], [0.1, 0.0, 0.5, 1]]


def contributions(returns, found, shrinkage):
    """Each portfolio's share of the variance."""
    covariance = np.cov(returns, rowvar=False)
    covariance = (1.0 - shrinkage) * covariance + shrinkage * np.diag(np.diag(covariance))
    return found * (covariance @ found) / (found @ covariance @ found)


@pytest.mark.parametrize("correlation", [-0.99, -0.5, 0.0, 0.7, 0.999])
def test_risk_parity_of_two_is_inverse_volatility(correlation):
    returns = returns_with(covariance_of([0.01, 0.03], correlation))
    assert_allclose(weights("risk_parity", returns, shrinkage=0.0), [0.75, 0.25], rtol=1e-9)


@pytest.mark.parametrize("correlation", [-0.3, 0.0, 0.4, 0.95])
@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 1.0])
def test_risk_parity_with_equal_correlations_is_inverse_volatility(correlation, shrinkage):
    returns = returns_with(covariance_of(SIGMA, correlation))
    found = weights("risk_parity", returns, shrinkage=shrinkage)
    assert_allclose(found, (1.0 / SIGMA) / (1.0 / SIGMA).sum(), rtol=1e-9)


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 0.5])
def test_contributions_to_risk_are_equal(shrinkage):
    returns = returns_with(covariance_of(SIGMA, MIXED))
    found = weights("risk_parity", returns, shrinkage=shrinkage)
    assert_allclose(contributions(returns, found, shrinkage), 0.25, atol=1e-8)
    assert np.abs(found - (1.0 / SIGMA) / (1.0 / SIGMA).sum()).max() > 0.01  # and not by chance


def test_contributions_to_risk_are_the_budgets():
    returns = returns_with(covariance_of(SIGMA, MIXED))
    found = weights("risk_parity", returns, budgets={"1": 5, "2": 3, "3": 1.9, "4": 0.1})
    assert_allclose(contributions(returns, found, 0.1), [0.5, 0.3, 0.19, 0.01], atol=1e-8)


@pytest.mark.parametrize(("correlation", "budget"), [(-0.6, 0.3), (0.0, 0.8), (0.5, 0.1), (0.9, 0.65), (0.9, 1 - 1e-9)])
def test_two_with_budgets_have_a_closed_form(correlation, budget):
    """Roncalli, Introduction to Risk Parity and Budgeting (2013), section 2.2.1.1."""
    one, two = 0.01, 0.03
    returns = returns_with(covariance_of([one, two], correlation))
    root = np.sqrt((budget - 0.5) ** 2 * correlation**2 + budget * (1.0 - budget))
    upper = (budget - 0.5) * correlation * one * two - budget * two**2 + one * two * root
    lower = (1.0 - budget) * one**2 - budget * two**2 + 2.0 * (budget - 0.5) * correlation * one * two
    found = weights("risk_parity", returns, shrinkage=0.0, budgets={"1": budget, "2": 1.0 - budget})
    assert_allclose(found[0], upper / lower, rtol=1e-8)


def test_uncorrelated_budgets_enter_by_their_root():
    returns = returns_with(covariance_of(SIGMA, 0.0))
    expected = np.sqrt([1.0, 2.0, 3.0, 4.0]) / SIGMA
    found = weights("risk_parity", returns, budgets={"1": 1, "2": 2, "3": 3, "4": 4})
    assert_allclose(found, expected / expected.sum(), rtol=1e-8)


def test_a_portfolio_without_history_gets_its_budget():
    returns = WALK[-60:, :3].copy()
    returns[:, 1] = NAN
    found = weights("risk_parity", returns, budgets={"1": 1, "2": 2, "3": 5})
    assert found[1] == 0.25
    assert_allclose(contributions(returns[:, [0, 2]], found[[0, 2]], 0.1), [1 / 6, 5 / 6], atol=1e-8)


def test_the_covariance_is_of_the_sessions_that_all_share():
    returns = WALK[-60:, :3].copy()
    returns[:20, 0] = returns[55:, 2] = NAN
    found = weights("risk_parity", returns)
    assert_allclose(contributions(returns[20:55], found, 0.1), 1 / 3, atol=1e-8)


def test_where_too_few_sessions_are_shared_the_shortest_histories_leave():
    returns = WALK[-60:, :4].copy()
    returns[:30, 0] = NAN  # 30 sessions
    returns[25:, 1] = NAN  # 25, none of them shared with the first
    found = weights("risk_parity", returns)
    assert found[1] == 0.25
    assert_allclose(contributions(returns[30:, [0, 2, 3]], found[[0, 2, 3]] / 0.75, 0.1), 1 / 3, atol=1e-8)
    returns[:35, 0] = NAN  # as few as the other: both leave
    assert weights("risk_parity", returns)[:2].tolist() == [0.25, 0.25]


def test_who_stands_still_in_the_shared_sessions_is_not_weighed():
    returns = WALK[-60:, :3].copy()
    returns[:30, 0] = NAN
    returns[30:, 1] = 0.0
    assert weights("risk_parity", returns)[1] == 1 / 3


def test_many_portfolios_and_few_sessions_are_solved():
    returns = np.random.default_rng(5).normal(size=(25, 60)) * np.geomspace(1e-4, 1e2, 60)
    found = weights("risk_parity", returns)
    assert_allclose(contributions(returns, found, 0.1), 1 / 60, atol=1e-8)


def test_returns_that_cancel_out_are_refused_by_name_and_shrinkage_helps():
    moves = WALK[-60:, 0]
    hedged = np.column_stack([moves, -2.0 * moves])
    with pytest.raises(AllocationError, match=r"nearly cancel out.*raise 'shrinkage' \(to 0.1\)"):
        weights("risk_parity", hedged, shrinkage=0.0)
    assert_allclose(weights("risk_parity", hedged), [2 / 3, 1 / 3], rtol=1e-9)
    assert_allclose(weights("risk_parity", np.column_stack([moves, moves]), shrinkage=0.0), 0.5, rtol=1e-9)


# --- drawdown ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returns", "factor"),
    [
        ([], 1.0),
        ([NAN, NAN], 1.0),
        ([0.1, 0.2], 1.0),
        ([0.0, -0.05], 1.0),
        ([0.0, -0.125], 0.625),  # half way from 0.05 to 0.2
        ([-0.2], 0.25),  # the index begins at 1, so the first session may be a loss
        ([0.5, -0.5, 0.1], 0.25),
        ([-0.5, 1.0], 1.0),  # it has recovered
        ([0.25, NAN, -0.125, NAN], 0.625),  # nothing known is no move
        ([-1.5, -3.0], 0.25),  # more than all is lost
    ],
)
def test_the_weight_falls_with_the_drawdown_and_the_rest_is_kept(returns, factor):
    returns = np.column_stack([np.array(returns), np.zeros(len(returns))])
    assert_allclose(weights("drawdown_scaled", returns), [0.5 * factor, 0.5], rtol=1e-9)


def test_given_weights_are_scaled_and_so_is_the_line():
    found = weights(
        "drawdown_scaled", [[-0.2, -0.5]], weights={"1": 0.4, "2": 0.3}, start=0.1, stop=0.3, floor_weight=0.0
    )
    assert_allclose(found, [0.2, 0.0], atol=1e-12)


# --- what they cost ------------------------------------------------------------------------------------------------


def test_loading_all_plugins_does_not_load_skfolio():
    code = (
        "import sys, framework; from framework.plugin_manager import PluginManager; "
        "assert PluginManager.load().get('allocator', 'skfolio').cls.__name__ == 'SkfolioAllocator'; "
        "print([name for name in ('skfolio', 'sklearn', 'scipy', 'cvxpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_skfolio_that_is_not_installed_is_asked_for_when_it_is_needed(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "skfolio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "skfolio", None)
    with pytest.raises(ConfigError, match=r"pip install 'portfolio-engine\[optimize\]'"):
        make("skfolio", optimizer="MeanRisk")
