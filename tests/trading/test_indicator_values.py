"""What strategies derive from indicators: the values of NumPy row by row, and nothing of the bars to come."""

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.errors import StrategyError
from framework.trading.indicator_values import Cursor, IndicatorValues, Signal

NUMBERS = st.one_of(st.just(np.nan), st.sampled_from([-1.0, 0.0, 1.0]), st.floats(-1e6, 1e6))
COMPARISONS = [operator.gt, operator.ge, operator.lt, operator.le]
ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv]
LOGIC = [operator.and_, operator.or_, operator.xor]


@st.composite
def pairs(draw):
    """Two indicators' rows over the same bars and tickers."""
    bars, tickers = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    cells = st.lists(NUMBERS, min_size=bars * tickers, max_size=bars * tickers)
    return tuple(np.array(draw(cells)).reshape(bars, tickers) for _ in range(2))


def declared(*arrays, row=0):
    cursor = Cursor(row)
    return cursor, *(IndicatorValues(rows.copy(), cursor) for rows in arrays)


def same(found, expected):
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("operation", [*COMPARISONS, *ARITHMETIC])
@given(pairs())
def test_operators_are_numpys_at_each_bar(operation, arrays):
    a, b = arrays
    cursor, left, right = declared(a, b)
    both, number = operation(left, right), operation(left, 1.5)
    per_ticker, turned = operation(left, b[0]), operation(b[0], left)
    with np.errstate(all="ignore"):
        for cursor.row in range(len(a)):
            same(both.value, operation(a[cursor.row], b[cursor.row]))
            same(number.value, operation(a[cursor.row], 1.5))
            same(per_ticker.value, operation(a[cursor.row], b[0]))
            same(turned.value, operation(b[0], a[cursor.row]))


@pytest.mark.parametrize("operation", LOGIC)
@given(pairs())
def test_signals_combine_as_masks(operation, arrays):
    a, b = arrays
    cursor, left, right = declared(a, b)
    combined, negated = operation(left > right, left < 0.0), ~(left > right)
    for cursor.row in range(len(a)):
        now, then = a[cursor.row], b[cursor.row]
        same(combined.value, operation(now > then, now < 0.0))
        same(negated.value, ~(now > then))
        assert combined.any is bool(combined.value.any())


@given(pairs())
def test_changed_compares_with_one_bar_ago(arrays):
    a, b = arrays
    cursor, left, right = declared(a, b)
    up = left > right
    changed = up.changed
    for cursor.row in range(len(a)):
        same(changed.value, up.value != up.previous)


@pytest.mark.parametrize(
    "derive",
    [
        lambda a, b: a > b,
        lambda a, b: (a > b).changed,
        lambda a, b: ((a > b) & ~(a < 1.0)).changed,
        lambda a, b: (a - b) / 2.0 * (a > b),
    ],
)
@given(arrays=pairs(), cut=st.integers(0, 5), future=NUMBERS)
def test_no_row_depends_on_later_rows(derive, arrays, cut, future):
    row = min(cut, len(arrays[0]) - 1)
    changed = [rows.copy() for rows in arrays]
    for rows in changed:
        rows[row + 1 :] = future
    cut_off = [rows[: row + 1] for rows in arrays]
    found = [derive(*declared(*given, row=row)[1:]) for given in (arrays, changed, cut_off)]
    for other in found[1:]:
        same(other.value, found[0].value)
        same(other.previous, found[0].previous)
        same(other.history(3), found[0].history(3))


def test_nan_compares_false_and_spreads_through_arithmetic():
    _, values = declared(np.array([[np.nan, 1.0]]))
    assert (values > 0.0).value.tolist() == [False, True]
    assert (values <= 0.0).value.tolist() == [False, False]
    assert (~(values > 0.0)).value.tolist() == [True, False]
    assert np.isnan((values * 0.0).value).tolist() == [True, False]


def test_before_the_first_bar_there_is_nothing():
    cursor, values = declared(np.array([[1.0, 2.0], [3.0, 4.0]]))
    up = values > 1.5
    assert np.isnan(values.previous).all()
    same(up.previous, np.array([False, False]))
    same(up.changed.value, np.array([False, True]))
    cursor.row = 1
    same(up.previous, np.array([False, True]))
    same(up.changed.value, np.array([True, False]))


def test_a_signal_counts_as_one_and_zero():
    _, values = declared(np.array([[1.0, 3.0]]))
    same(((values > 2.0) * 0.25).value, np.array([0.0, 0.25]))
    same(((values > 2.0) + (values > 0.0)).value, np.array([1.0, 2.0]))


def test_what_is_derived_is_read_only_and_leaves_its_origin_alone():
    rows = np.array([[1.0, 3.0]])
    _, values = declared(rows)
    for derived in (values * 2.0, values > 2.0, ~(values > 2.0), (values > 2.0).changed):
        with pytest.raises(ValueError, match="read-only"):
            derived.value[0] = 0
    same(values.value, rows[0])


def test_it_is_neither_true_nor_false():
    _, values = declared(np.array([[1.0, 3.0]]))
    for condition in (values, values > 2.0):
        with pytest.raises(StrategyError, match=r"neither true nor false: take its \.value"):
            bool(condition)
    with pytest.raises(StrategyError, match="neither true nor false"):
        _ = 0.0 < values < 2.0


def test_only_what_has_the_same_bars_or_is_constant_combines():
    _, values = declared(np.ones((3, 2)))
    with pytest.raises(StrategyError, match=r"array of shape \(3, 2\); allowed: .* shape \(2,\)"):
        _ = values > np.ones((3, 2))
    _, other = declared(np.ones((3, 2)))
    with pytest.raises(StrategyError, match="of two strategies"):
        _ = values > other


def test_a_panel_without_bars_derives_too():
    _, values = declared(np.empty((0, 2)))
    assert isinstance((values > values * 2.0).changed, Signal)
