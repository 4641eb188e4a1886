"""Buys that cash does not cover."""

from hypothesis import given, settings
from hypothesis import strategies as st

from framework.trading.trim import trim

BUYS = st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 10**8)), min_size=1, max_size=6)


def no_fee(lots, price):
    return 0.0


@given(BUYS, st.integers(0, 10**11), st.sampled_from([0.0, 0.01]), st.sampled_from([0.0, 5e6]))
@settings(max_examples=200, deadline=None)
def test_what_is_kept_fits_and_is_never_more_than_wanted(buys, free, rate, minimum):
    lots, prices = [float(count) for count, _ in buys], [float(price) for _, price in buys]

    def fee(count, price):
        return max(minimum, round(count * price * rate)) if count else 0.0

    kept = trim(float(free), lots, prices, fee, 1.0)
    cost = sum(round(count * price) + fee(count, price) for count, price in zip(kept, prices, strict=True))
    assert cost <= free
    assert all(0.0 <= got <= wanted and got == int(got) for got, wanted in zip(kept, lots, strict=True))


def test_what_fits_is_left_alone():
    assert trim(100e6, [5.0, 5.0], [10e6, 10e6], no_fee, 1.0) == [5.0, 5.0]


def test_nothing_is_bought_with_nothing():
    assert trim(0.0, [5.0], [1e6], no_fee, 1.0) == [0.0]
    assert trim(-1.0, [5.0], [1e6], no_fee, 1.0) == [0.0]


def test_the_largest_gives_first_and_the_first_of_equals():
    flat = 3e6

    def fee(count, price):
        return flat if count else 0.0

    # 100 for 60 + 40 + fees of 6: scaled to 56 and 37, 93 + 6 fits.
    assert trim(100e6, [60.0, 40.0], [1e6, 1e6], fee, 1.0) == [56.0, 37.0]
    # Equal buys, one too many: the first gives.
    assert trim(9e6, [6.0, 6.0], [1e6, 1e6], lambda count, price: 0.5e6 if count else 0.0, 1.0) == [4.0, 4.0]
    assert trim(8e6, [4.0, 4.0], [1e6, 1e6], lambda count, price: 0.5e6 if count else 0.0, 1.0) == [3.0, 3.0]


def test_fractions_give_in_one_go_what_is_missing():
    kept = trim(1e6, [1e9, 1e9], [1e-3, 1e-3], lambda count, price: 100_000.0 if count else 0.0, 1e9)
    assert sum(round(count * 1e-3) + 100_000 for count in kept) <= 1e6
    assert sum(kept) * 1e-3 > 1e6 - 200_000 - 10
