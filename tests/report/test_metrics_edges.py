"""Metrics of what there is little to compute with, by hand; and the page that says what they are."""

from __future__ import annotations

import dataclasses
import math
import re
from operator import attrgetter
from pathlib import Path

import empyrical
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from framework.report import metrics

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text("utf-8")

FLAT = np.zeros(30)
BENCHMARK = np.array([0.02, -0.01, 0.03])
LOST = np.array([0.1, -1.0, 0.0, 0.0])


def test_the_shape_of_four_returns_by_hand():
    shape = metrics.shape(np.array([0.03, -0.01, 0.02, -0.02]))
    assert shape.downside_risk == pytest.approx(math.sqrt((0.01**2 + 0.02**2) / 4) * math.sqrt(252))
    assert shape.omega == pytest.approx(0.05 / 0.03)
    assert shape.value_at_risk == pytest.approx(-0.02 + 0.15 * 0.01)
    assert shape.tail_ratio == pytest.approx((0.03 - 0.15 * 0.01) / 0.0185)
    assert shape.conditional_value_at_risk == -0.02
    assert shape.skew == pytest.approx(0.0, abs=1e-12)
    assert shape.kurtosis == pytest.approx((0.025**4 + 0.015**4) / 2 / ((0.025**2 + 0.015**2) / 2) ** 2 - 3)
    assert (shape.best_session, shape.worst_session, shape.gaining_share) == (0.03, -0.02, 0.5)


def test_skew_leans_to_where_the_long_tail_is():
    assert metrics.skew(np.array([0.0, 0.0, 0.3])) == pytest.approx(math.sqrt(0.5))
    assert metrics.skew(np.array([0.0, 0.0, -0.3])) == pytest.approx(-math.sqrt(0.5))


def test_steady_growth_is_stable_and_a_return_to_the_start_is_not():
    assert metrics.stability(np.full(10, 0.01)) == pytest.approx(1.0)
    assert metrics.stability(np.full(10, -0.01)) == pytest.approx(1.0)
    assert metrics.stability(np.array([0.0, 0.25, -0.2])) == pytest.approx(0.0)


def test_another_cutoff_of_value_at_risk():
    returns = np.arange(-10, 11) / 100
    assert metrics.value_at_risk(returns, 0.25) == pytest.approx(-0.05)
    assert metrics.conditional_value_at_risk(returns, 0.25) == pytest.approx(-0.075)


@pytest.mark.parametrize(("sessions", "worst"), [(1, 1), (20, 1), (21, 2), (40, 2), (41, 3)])
def test_how_many_sessions_are_the_worst(sessions, worst):
    returns = np.arange(sessions) / 100
    assert metrics.conditional_value_at_risk(returns[::-1]) == pytest.approx(returns[:worst].mean())


def test_sessions_in_which_the_benchmark_stood_still_are_not_captured():
    got = metrics.relative(np.array([0.01, 0.5, -0.01]), np.array([0.02, 0.0, -0.02]), per_year=1)
    assert (got.up_capture, got.down_capture) == pytest.approx((0.5, 0.5))


def test_relative_by_hand():
    got = metrics.relative(2 * BENCHMARK + 0.001, BENCHMARK)
    assert got.beta == pytest.approx(2.0)
    assert got.alpha == pytest.approx(1.001**252 - 1)
    active = BENCHMARK + 0.001
    assert got.information_ratio == pytest.approx(active.mean() / active.std(ddof=1))
    assert got.tracking_error == pytest.approx(active.std(ddof=1) * math.sqrt(252))
    assert got.up_capture == pytest.approx(((1.041 * 1.061) ** 126 - 1) / ((1.02 * 1.03) ** 126 - 1))
    assert got.down_capture == pytest.approx((0.981**252 - 1) / (0.99**252 - 1))


@pytest.mark.parametrize(
    ("returns", "wanted"),
    [
        (np.empty(0), metrics.Shape(None, None, None, None, None, None, None, None, None, None, None)),
        (np.array([0.0]), metrics.Shape(0.0, None, None, 0.0, 0.0, None, None, None, 0.0, 0.0, 0.0)),
        (np.array([0.5]), metrics.Shape(0.0, None, 1.0, 0.5, 0.5, None, None, None, 0.5, 0.5, 1.0)),
        (np.array([-0.5]), metrics.Shape(0.5 * 2, None, 1.0, -0.5, -0.5, None, None, None, -0.5, -0.5, 0.0)),
        (FLAT, metrics.Shape(0.0, None, None, 0.0, 0.0, None, None, None, 0.0, 0.0, 0.0)),
    ],
    ids=["no session", "one flat", "one gain", "one loss", "flat"],
)
def test_shape_of_too_little(returns, wanted):
    assert metrics.shape(returns, per_year=4) == wanted


def test_shape_of_a_total_loss():
    shape = metrics.shape(LOST, per_year=4)
    assert shape.stability is None
    assert shape.downside_risk == pytest.approx(1.0)
    assert shape.omega == pytest.approx(0.1)
    assert (shape.worst_session, shape.conditional_value_at_risk, shape.gaining_share) == (-1.0, -1.0, 0.25)


@pytest.mark.parametrize("below", [-1.0, -1.5])
def test_a_loss_of_all_or_more_has_no_stability(below):
    assert metrics.stability(np.array([0.1, below, 0.2])) is None


@pytest.mark.parametrize(
    ("returns", "benchmark", "wanted"),
    [
        (np.empty(0), np.empty(0), metrics.Relative(None, None, None, None, None, None)),
        (np.array([0.2]), np.array([0.1]), metrics.Relative(None, None, None, None, 2.0, None)),
        (np.array([0.2]), np.array([-0.1]), metrics.Relative(None, None, None, None, None, -2.0)),
        (np.array([0.2]), np.array([0.0]), metrics.Relative(None, None, None, None, None, None)),
        (FLAT, FLAT, metrics.Relative(None, None, None, 0.0, None, None)),
    ],
    ids=["no session", "one up", "one down", "one flat", "both flat"],
)
def test_relative_of_too_little(returns, benchmark, wanted):
    got = metrics.relative(returns, benchmark, per_year=1)
    assert dataclasses.astuple(got) == pytest.approx(dataclasses.astuple(wanted))


def test_without_a_trade_nothing_is_captured():
    got = metrics.relative(np.zeros(3), BENCHMARK)
    assert (got.alpha, got.beta, got.up_capture, got.down_capture) == (0.0, 0.0, 0.0, 0.0)
    assert got.information_ratio == pytest.approx(-BENCHMARK.mean() / BENCHMARK.std(ddof=1))
    assert got.tracking_error == metrics.volatility(BENCHMARK)
    assert [math.copysign(1.0, value) for value in (got.up_capture, got.down_capture)] == [1.0, 1.0]  # not −0


@pytest.mark.parametrize("level", [0.0, 0.1, -0.1])
def test_of_a_benchmark_that_never_moves_there_is_no_beta(level):
    got = metrics.relative(BENCHMARK, np.full(3, level))
    assert got.alpha is got.beta is None
    assert got.tracking_error == pytest.approx(metrics.volatility(BENCHMARK))
    assert got.information_ratio == pytest.approx((BENCHMARK - level).mean() / BENCHMARK.std(ddof=1))
    assert (got.up_capture is None, got.down_capture is None) == (level <= 0, level >= 0)


def test_a_portfolio_that_holds_the_benchmark_differs_by_rounding_only():
    noise = np.array([1e-16, -2e-16, 1e-16])
    got = metrics.relative(BENCHMARK + noise, BENCHMARK)
    assert (got.tracking_error, got.information_ratio) == (0.0, None)
    assert got.beta == pytest.approx(1.0)
    assert got.alpha == pytest.approx(0.0, abs=1e-12)
    assert (got.up_capture, got.down_capture) == pytest.approx((1.0, 1.0))
    assert metrics.beta(BENCHMARK, 0.1 + noise) is None
    assert metrics.skew(0.1 + noise) is metrics.kurtosis(0.1 + noise) is None


def test_relative_of_a_total_loss():
    benchmark = np.array([0.02, -0.01, 0.03, -0.02])
    got = metrics.relative(LOST, benchmark)
    assert got.down_capture == pytest.approx(-1.0 / ((0.99 * 0.98) ** 126 - 1))
    assert got.up_capture == pytest.approx((1.1**126 - 1) / ((1.02 * 1.03) ** 126 - 1))
    assert metrics.relative(benchmark, LOST).down_capture == pytest.approx(-((0.99) ** 252 - 1))
    assert metrics.alpha(np.array([-1.0, -1.2, -1.0]), BENCHMARK) == -1.0


def test_rates_too_large_for_a_float_are_undefined():
    rocket = np.array([1000.0, 0.0, 1000.0])
    assert metrics.alpha(rocket, np.array([0.01, 0.011, 0.01])) is None
    assert metrics.up_capture(rocket, BENCHMARK) is None
    assert metrics.omega(np.array([0.1, -5e-324])) is None
    assert metrics.up_capture(np.array([250.0]), np.array([1e-15]), per_year=128) is None


def test_calmar_is_never_infinite():
    returns = np.array([257.6, -1e-6])
    assert metrics.cagr(returns) > 1e303
    assert metrics.calmar(returns) is None


@pytest.mark.parametrize(
    "function", [metrics.relative, metrics.alpha, metrics.beta, metrics.information_ratio, metrics.tracking_error]
)
@pytest.mark.parametrize("benchmark", [np.zeros(1), np.zeros(2), np.zeros(4), np.zeros((3, 1))])
def test_a_benchmark_of_other_sessions_is_refused(function, benchmark):
    with pytest.raises(ValueError, match=re.escape(f"(3,), those of the benchmark {benchmark.shape}; give one return")):
        function(BENCHMARK, benchmark)


@given(
    arrays(np.float64, st.integers(0, 12), elements=st.floats(-2.0, 10.0)),
    arrays(np.float64, 12, elements=st.floats(-2.0, 10.0)),
    st.floats(1, 366),
)
@settings(max_examples=300, deadline=None)
def test_every_figure_is_a_finite_number_or_undefined(returns, benchmark, per_year):
    for found in (
        metrics.figures(returns, per_year),
        metrics.shape(returns, per_year),
        metrics.relative(returns, benchmark[: len(returns)], per_year),
    ):
        for name, value in dataclasses.asdict(found).items():
            assert value is None or (type(value) is float and math.isfinite(value)), name


# --- the page ------------------------------------------------------------------------------------------------------


def rows(title):
    """Cells of the first table of one section of the page, each row by its first word."""
    section = PAGE.partition(f"\n## {title}")[2].partition("\n## ")[0]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {cells[0].strip("`"): cells[1:] for cells in table[2:]}


@pytest.mark.parametrize(
    ("title", "kind"),
    [("Key figures", metrics.Figures), ("What the returns are like", metrics.Shape), ("Against", metrics.Relative)],
)
def test_the_page_has_every_figure_in_its_order(title, kind):
    assert list(rows(title)) == [field.name for field in dataclasses.fields(kind)]


def test_the_functions_that_the_page_names_exist():
    titles = ("Key figures", "What the returns", "Against", "Series", "What was held")
    cells = [row[-1] for title in titles for row in rows(title).values()]
    named = [name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)]
    assert len(named) >= 25
    for name in named:
        assert callable(attrgetter(name.removeprefix("scipy."))(scipy if name.startswith("scipy.") else empyrical))


def test_the_page_names_everything_that_is_computed():
    functions = {name for name in metrics.__all__ if name.islower()}
    money = {"period_returns", "session_returns", "invested"}  # how returns come from values, not what they amount to
    assert {name for name in functions - money if f"`{name}" not in PAGE and f"metrics.{name}" not in PAGE} == set()


def test_the_values_that_the_page_gives_for_edge_cases_are_those():
    given_series = {"no session": np.empty(0), "all flat, as without a trade": FLAT, "total loss": LOST}
    section = PAGE.partition("\n## Edge cases")[2]
    header = next(line for line in section.splitlines() if line[:1] == "|")
    columns = [cell.strip() for cell in header.strip("|").split("|")][1:]
    seen = 0
    for names, cells in rows("Edge cases").items():
        for column, cell in zip(columns, cells, strict=True):
            if column not in given_series:
                continue
            series = given_series[column]
            moving = np.resize(BENCHMARK, len(series))
            for name in re.findall(r"\w+", names):
                pair = (series, moving) if name in metrics.Relative.__dataclass_fields__ else (series,)
                value = getattr(metrics, name)(*pair)
                expected = cell.partition(",")[0].replace("−", "-")
                if expected == "defined":
                    assert value is not None, (name, column)
                else:
                    assert value == (None if expected == "—" else pytest.approx(float(expected))), (name, column)
                seen += 1
    assert seen == 3 * 24
