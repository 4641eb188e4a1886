"""The allocator that asks skfolio: names become estimators, weights become money, and what cannot be is refused."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from numpy.testing import assert_allclose

from framework.errors import AllocationError, ConfigError
from tests.plugins.allocation import NAN, covariance_of, make, returns_with, state, weights

# 280 MB that nobody needs for anything else: the extra `optimize` brings it, which .ci/run installs.
pytestmark = pytest.mark.skipif(find_spec("skfolio") is None, reason="pip install 'portfolio-engine[optimize]'")

SIGMA = np.array([0.005, 0.01, 0.02, 0.04])
MIXED = [[1, 0.8, -0.3, 0.1], [0.8, 1, -0.2, 0.0], [-0.3, -0.2, 1, 0.5], [0.1, 0.0, 0.5, 1]]
RETURNS = returns_with(covariance_of(SIGMA, MIXED)) + np.array([0.0001, 0.0003, 0.0002, 0.0005])
SINGLE = {"name": "HierarchicalClustering", "params": {"linkage_method": "single"}}
OPTIMISERS = [
    ("DistributionallyRobustCVaR", {}),
    ("EqualWeighted", {}),
    ("HierarchicalEqualRiskContribution", {"risk_measure": "CVAR"}),
    ("HierarchicalRiskParity", {"risk_measure": "VALUE_AT_RISK"}),  # an extra measure
    ("HierarchicalRiskParity", {"seriation_estimator": {"name": "HierarchicalSeriation", "params":
     {"hierarchical_clustering_estimator": SINGLE}}}),
    ("InverseVolatility", {}),
    ("MaximumDiversification", {"max_weights": 0.5}),
    ("MeanRisk", {}),
    ("MeanRisk", {"risk_measure": "CVAR", "cvar_beta": 0.9}),
    ("MeanRisk", {"objective_function": "maximize_ratio", "min_weights": {1: 0.1, 2: 0.2}}),
    ("MeanRisk", {"prior_estimator": {"name": "EmpiricalPrior", "params": {"covariance_estimator": "LedoitWolf"}}}),
    ("MeanRisk", {"groups": {1: ["a"], 2: ["a"], 3: ["b"], 4: ["b"]}, "linear_constraints": ["a <= 0.5"]}),
    ("MeanRisk", {"mu_uncertainty_set_estimator": "BootstrapMuUncertaintySet"}),  # draws, from a seed that is set
    ("MeanRisk", {"max_turnover": 0.2, "transaction_costs": 0.001}),
    ("NestedClustersOptimization", {"inner_estimator": "MeanRisk", "outer_estimator": {"name": "EqualWeighted"},
     "quantile_measure": "CVAR_RATIO"}),
    ("RiskBudgeting", {"risk_budget": {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}}),
    ("SchurComplementary", {"gamma": 0.3}),
    ("StackingOptimization", {"estimators": [["one", {"name": "MeanRisk"}], ["two", {"name": "EqualWeighted"}]]}),
]  # fmt: skip


@pytest.mark.parametrize(("optimizer", "options"), OPTIMISERS)
def test_an_optimiser_gives_out_what_there_is_and_the_same_again(optimizer, options):
    seen = state(RETURNS, 1000.0)
    before = seen.returns.tobytes()
    first = make("skfolio", optimizer=optimizer, options=options)
    given_out = first.allocate(seen)
    assert (given_out >= 0.0).all()
    assert_allclose(given_out.sum(), 1000.0, rtol=1e-6)
    again = make("skfolio", optimizer=optimizer, options=options)
    assert first.allocate(seen).tobytes() == again.allocate(seen).tobytes() == given_out.tobytes()
    assert seen.returns.tobytes() == before


@pytest.mark.parametrize("optimizer", ["MeanRisk", "HierarchicalRiskParity", "RiskBudgeting", "InverseVolatility"])
def test_the_order_of_portfolios_decides_nothing(optimizer):
    order = [2, 0, 3, 1]
    allocator = make("skfolio", optimizer=optimizer)
    mixed = allocator.allocate(state(RETURNS[:, order], portfolios=[str(place + 1) for place in order]))
    assert_allclose(mixed, allocator.allocate(state(RETURNS))[order], rtol=1e-3, atol=1e-3)


def test_it_agrees_with_the_allocators_that_are_written_out():
    inverse = weights("skfolio", RETURNS, optimizer="InverseVolatility")
    assert_allclose(inverse, weights("inverse_volatility", RETURNS), rtol=1e-12)
    parity = weights("skfolio", RETURNS, optimizer="RiskBudgeting")
    assert_allclose(parity, weights("risk_parity", RETURNS, shrinkage=0.0), rtol=1e-3)
    assert weights("skfolio", RETURNS, optimizer="EqualWeighted").tolist() == [0.25] * 4


def test_options_reach_the_optimiser():
    least = weights("skfolio", RETURNS, optimizer="MeanRisk")
    covariance = np.cov(RETURNS, rowvar=False)
    assert least @ covariance @ least < 0.9 * np.square(weights("equal", RETURNS)) @ covariance.sum(axis=1)
    assert weights("skfolio", RETURNS, optimizer="MeanRisk", options={"max_weights": 0.4}).max() < 0.4 + 1e-6
    by_id = weights("skfolio", RETURNS, optimizer="MeanRisk", options={"min_weights": {4: 0.3}})
    assert_allclose(by_id[3], 0.3, atol=1e-6)
    half = weights("skfolio", RETURNS, optimizer="MeanRisk", options={"budget": 0.5})
    assert_allclose(half.sum(), 0.5, rtol=1e-6)  # the rest is the master account's


def test_turnover_is_counted_from_what_the_portfolios_hold():
    allocator = make("skfolio", optimizer="MeanRisk", options={"max_turnover": 0.1})
    held = np.array([100.0, 400.0, 400.0, 100.0])
    moved = allocator.allocate(state(RETURNS, 1000.0, equity=held)) - held
    assert np.abs(moved).max() == pytest.approx(100.0, abs=0.1)  # the limit is on each


@pytest.mark.parametrize("optimizer", ["MeanRisk", "HierarchicalEqualRiskContribution", "NestedClustersOptimization"])
def test_of_whom_nothing_is_known_gets_an_equal_share(optimizer):
    allocator = make("skfolio", optimizer=optimizer)
    for returns in (RETURNS[:0], RETURNS[:19], np.zeros((60, 4)), np.full((60, 4), NAN)):
        assert allocator.allocate(state(returns)).tolist() == [250.0] * 4
    returns = RETURNS.copy()
    returns[:, 1] = NAN
    alone = allocator.allocate(state(RETURNS[:, [0, 2, 3]], portfolios=["1", "3", "4"]))
    assert_allclose(allocator.allocate(state(returns))[[0, 2, 3]], 0.75 * alone, rtol=1e-9)
    returns[:, 2:] = 0.0  # one alone is left
    assert allocator.allocate(state(returns)).tolist() == [250.0] * 4
    assert allocator.allocate(state(RETURNS, 0.0)).tolist() == [0.0] * 4
    assert allocator.allocate(state(RETURNS[:, :1], 70.0)).tolist() == [70.0]
    assert allocator.sessions() == 60


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "needs the parameter 'optimizer'"),
        ({"optimizer": "MeanRsk"}, "'optimizer' was 'MeanRsk', .*; did you mean 'MeanRisk'. .allowed: Distribut"),
        ({"optimizer": "Random"}, "'optimizer' was 'Random', which draws its weights"),
        ({"optimizer": "BenchmarkTracker"}, "which needs the returns of a benchmark"),
        ({"optimizer": "BaseOptimization"}, "skfolio does not have here"),
        ({"optimizer": "LedoitWolf"}, "skfolio does not have here"),
        ({"optimizer": "ConvexOptimization"}, "skfolio does not have here"),
        ({"optimizer": "MeanRisk", "options": {"max_wights": 1}}, "no option 'max_wights'; did you mean 'max_weights'"),
        ({"optimizer": "MeanRisk", "options": {"risk_measure": "CVR"}}, "was 'CVR'; did you mean 'CVAR'"),
        ({"optimizer": "MeanRisk", "options": {"risk_measure": "SKEW"}}, "'risk_measure' was 'SKEW' .allowed: VARI"),
        ({"optimizer": "MeanRisk", "options": {"objective_function": "MINIMISE_RISK"}}, "did you mean 'MINIMIZE_RISK'"),
        ({"optimizer": "MeanRisk", "options": {"prior_estimator": "EmpiricPrior"}}, "mean 'EmpiricalPrior'"),
        ({"optimizer": "MeanRisk", "options": {"prior_estimator": {"name": "EmpiricalPrior", "params": {"x": 1}}}},
         "EmpiricalPrior has no option 'x'"),
        ({"optimizer": "MeanRisk", "options": {"prior_estimator": "SyntheticData"}}, "which draws its scenarios"),
        ({"optimizer": "NestedClustersOptimization", "options": {"inner_estimator": "Random"}}, "which draws its wei"),
        ({"optimizer": "StackingOptimization"}, "'options' do not make a StackingOptimization: .*estimators"),
        ({"optimizer": "MeanRisk", "minimum": 99}, "minimum must not be above it"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_named(params, said):
    with pytest.raises(ConfigError, match=said):
        make("skfolio", **params)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_weights": -1, "objective_function": "MAXIMIZE_RETURN"}, r"portfolio '\d' the weight -.*cannot be short"),
        ({"budget": 1.5}, "add up to 1.5; allowed: at most 1"),
        ({"efficient_frontier_size": 3}, "allowed: one number per portfolio"),
        ({"min_weights": {"core": 0.1}}, r"'min_weights' names portfolio 'core', .*\(allowed: 1, 2, 3, 4\)"),
        ({"min_weights": 0.4}, "found no weights for 4 portfolios: "),  # 1.6 in all
    ],
)
def test_what_cannot_be_an_allocation_is_refused(options, said):
    allocator = make("skfolio", optimizer="MeanRisk", options=options)
    with pytest.raises(AllocationError, match=said):
        allocator.allocate(state(RETURNS))
