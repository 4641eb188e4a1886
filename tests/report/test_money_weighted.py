"""The money-weighted return: known answers, what has none, and that it always explains the final value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from framework.report.money_weighted import money_weighted_return

amounts = st.lists(st.tuples(st.floats(1.0, 1e6), st.floats(0.0, 30.0)), min_size=1, max_size=12)


def rate(pairs, final):
    """Of (amount, years to the end)."""
    money, years = np.array(pairs, dtype=float).reshape(-1, 2).T
    return money_weighted_return(money, years, final)


def worth(pairs, growth):
    """What the money became at a growth a year, and Σ of the sizes of its parts."""
    parts = [amount * growth**years for amount, years in pairs]
    return math.fsum(parts), math.fsum(map(abs, parts))


@pytest.mark.parametrize(
    ("pairs", "final", "wanted"),
    [
        ([(100, 1)], 110, 0.1),
        ([(100, 2)], 121, 0.1),
        ([(100, 0.5)], 110, 0.21),
        ([(100, 1)], 100, 0.0),
        ([(100, 1)], 50, -0.5),
        ([(100, 2), (100, 1)], 231, 0.1),
        ([(100, 2), (-60.5, 1)], 121 - 60.5 * 1.1, 0.1),
        ([(0, 5), (100, 2)], 121, 0.1),
        ([(100, 2), (50, 0)], 171, 0.1),
        # 1000 doubled, then 10000 came and half of all was lost: 1000 x^2 + 10000 x = 6000
        ([(1000, 2), (10000, 1)], 6000, (-10 + math.sqrt(124)) / 2 - 1),
        # All of the gain was taken out, and nothing is left.
        ([(100, 2), (-121, 0)], 0, 0.1),
    ],
)
def test_known_answers(pairs, final, wanted):
    assert rate(pairs, final) == pytest.approx(wanted, abs=1e-12)


def test_agrees_with_a_spreadsheet():
    """The example of Excel's own documentation of XIRR: 37.3362535 % with years of 365 days."""
    days = np.array(["2008-01-01", "2008-03-01", "2008-10-30", "2009-02-15", "2009-04-01"], dtype="datetime64[D]")
    flows = [10000, -2750, -4250, -3250]
    years = ((days[-1] - days[:-1]) / np.timedelta64(1, "D") / 365).tolist()
    assert rate(list(zip(flows, years, strict=True)), 2750) == pytest.approx(0.373362535, abs=1e-8)


@pytest.mark.parametrize(
    ("pairs", "final"),
    [
        ([], 0.0),
        ([(0, 1)], 0.0),
        ([(-100, 1)], 0.0),
        ([(100, 0)], 110.0),
        ([(100, 1)], math.nan),
        ([(100, 1)], math.inf),
        ([(100, 2), (-50, 1)], -20.0),
        ([(100, 1e-4)], 200.0),
    ],
    ids=["nothing", "no money", "only out", "no time", "unknown", "infinite", "no rate explains it", "too large"],
)
def test_what_has_no_rate(pairs, final):
    assert rate(pairs, final) is None


@pytest.mark.parametrize("final", [0.0, -5.0])
def test_a_total_loss_is_minus_one(final):
    assert rate([(100, 2), (50, 1)], final) == -1.0


def test_a_loss_too_fast_for_a_float_is_minus_one():
    assert rate([(100, 1e-6)], 90.0) == -1.0


def test_of_several_rates_the_nearest_one_on_the_side_of_the_profit():
    """100 in, 230 out, 132 in, nothing left: 10 % and 20 % both explain it."""
    assert rate([(100, 2), (-230, 1), (132, 0)], 0.0) == pytest.approx(0.1)
    assert rate([(100, 2), (-230, 1), (132, 0)], 0.01) == pytest.approx(0.1, abs=0.01)


@given(st.floats(1.0, 1e9), st.floats(0.05, 30.0), st.floats(0.2, 5.0))
@settings(max_examples=200, deadline=None)
def test_without_flows_it_is_the_growth_rate(opening, years, factor):
    assert rate([(opening, years)], opening * factor) == pytest.approx(factor ** (1 / years) - 1, rel=1e-9, abs=1e-12)


@given(amounts, st.floats(-0.9, 3.0))
@settings(max_examples=300, deadline=None)
def test_money_that_grew_at_a_rate_has_this_rate(pairs, grown):
    assume(max(years for _, years in pairs) > 0.1)
    final, _ = worth(pairs, 1 + grown)
    assume(final > math.fsum(amount for amount, years in pairs if years < 0.1) * 1.0001)
    found = rate(pairs, final)
    assert found is not None
    again, size = worth(pairs, 1 + found)
    assert abs(again - final) <= 1e-9 * size
    if len(pairs) == 1:
        assert found == pytest.approx(grown, abs=1e-9)


@given(
    st.lists(st.tuples(st.floats(-1e5, 1e5), st.floats(0.0, 10.0)), max_size=10),
    st.floats(1e3, 1e6),
    st.floats(1.0, 1e6),
)
@settings(max_examples=300, deadline=None)
def test_the_rate_explains_the_final_value(flows, opening, final):
    """Whatever came and went: present values add up to nothing, at any scale of the money."""
    pairs = [(opening, 10.0), *flows]
    found = rate(pairs, final)
    sums = [worth(pairs, growth)[0] - final for growth in (1e-6, 1.0, 1e6)]
    if found is None:
        assert len({value > 0 for value in sums}) == 1
        return
    if -1 + 1e-6 < found < 1e12:  # nearer to a total loss 1 + rate has too few digits left
        again, size = worth(pairs, 1 + found)
        assert abs(again - final) <= 1e-7 * (size + final)
        profit = final - math.fsum(amount for amount, _ in pairs)
        if all(amount > 0 for amount, _ in pairs):
            assert (found > 0) == (profit > 0)
    scaled = rate([(amount * 1024.0, years) for amount, years in pairs], final * 1024.0)
    assert scaled == found
