"""Rounding: the float and the Decimal of each rule agree."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.model import money


@given(st.integers(0, 10**9), st.integers(1, 10**10))
def test_notional_of_whole_shares_is_exact(shares, price_micros):
    if shares * price_micros >= 2**53:
        return
    price = price_micros / 1e6
    exact = money.notional_decimal(Decimal(shares), Decimal(price_micros) / 10**6)
    assert money.exact_decimal(np.rint(shares * money.to_micro(price)), money.MICRO) == exact


@given(st.integers(0, 10**14), st.integers(1, 10**9))
def test_notional_of_fractions_is_at_most_a_micro_off_and_only_at_a_half(nano, price_micros):
    quantity, price = Decimal(nano) / 10**9, Decimal(price_micros) / 10**6
    exact = quantity * price * 10**6
    found = Decimal(round(float(nano) * (price_micros / 1e9)))
    rounded = money.notional_decimal(quantity, price) * 10**6
    if found != rounded:
        assert abs(found - rounded) == 1
        assert abs(abs(exact - int(exact)) - Decimal("0.5")) < abs(exact) * Decimal("4e-16") + Decimal("1e-9")


@given(st.integers(0, 10**15), st.floats(-0.4, 0.4))
def test_lots_are_cut_towards_zero_and_forgive_float_noise(whole, noise):
    lots = whole + max(0.0, noise)
    assert money.cut(float(lots)) == int(lots)
    assert money.cut(-float(lots)) == -int(lots)
    assert money.cut(np.array([float(lots), -float(lots)])).tolist() == [int(lots), -int(lots)]


def test_a_quantity_a_hair_below_a_lot_is_that_lot():
    assert money.cut(9.9999999999) == 10.0
    assert money.cut(np.array([9.9999999999, -9.9999999999])).tolist() == [10.0, -10.0]
    assert money.cut(9.99999) == 9.0


@pytest.mark.parametrize(("value", "expected"), [("1.0000005", "1.000000"), ("1.0000015", "1.000002")])
def test_halves_go_to_even(value, expected):
    assert money.price_decimal(Decimal(value)) == Decimal(expected)


def test_fractional_quantities_go_down():
    assert money.quantity_decimal(Decimal("0.1234567899")) == Decimal("0.123456789")
