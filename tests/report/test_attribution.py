"""Where live books and their backtest differ: each part by hand, and that the parts are always the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.report import attribution_view
from framework.report.attribution import Side, attribute

BARS = np.datetime64("2024-01-02", "us") + np.arange(5) * np.timedelta64(1, "D")
HOURS = np.timedelta64(15 * 60 + 30, "m")
NAMES = ("AAPL", "IBM")


def side(fills=(), orders=None, held=(0.0, 0.0), profit=None, end=(110.0, 50.0), start=(100.0, 40.0)):
    """Of fills (bar, ticker, shares, price, fee, arrival) and orders (bar, ticker, shares); the same, unless given."""
    orders = [fill[:3] for fill in fills] if orders is None else orders
    bar, ticker, quantity, price, fees, arrival = np.array(list(fills) or np.empty((0, 6)), dtype=float).T
    order_bar, order_ticker, order_quantity = np.array(list(orders) or np.empty((0, 3)), dtype=float).T
    codes = ticker.astype(np.int64)
    held = np.array(held)
    if profit is None:
        gained = quantity * np.array(end)[codes] - quantity * price - fees
        profit = gained.sum() + (held * (np.array(end) - np.array(start))).sum()
    return Side(
        decided=BARS[bar.astype(int)],
        ticker=codes,
        quantity=quantity,
        notional=quantity * price,
        fees=fees,
        arrival=arrival,
        order_bar=BARS[order_bar.astype(int)],
        order_ticker=order_ticker.astype(np.int64),
        order_quantity=order_quantity,
        held=held,
        profit=float(profit),
    )


def compared(live, backtest, end=(110.0, 50.0), start=(100.0, 40.0)):
    return attribute(NAMES, live, backtest, np.array(start), np.array(end))


SAME = (0, 0, 10, 100.0, 1.0, 99.0)


@pytest.mark.parametrize(
    ("live", "backtest", "expected"),
    [
        (side([SAME]), side([SAME]), {}),
        (side([(0, 0, 12, 100.0, 1.0, 99.0)]), side([SAME]), {"decisions": 2 * 10}),
        (side([(0, 0, 10, 100.5, 1.0, 99.0)]), side([SAME]), {"fill_prices": -5}),
        (side([(0, 0, 10, 100.0, 3.0, 99.0)]), side([SAME]), {"costs": -2}),
        (side([(0, 0, 4, 100.0, 1.0, 99.0)], [(0, 0, 10)]), side([SAME]), {"unfilled": -6 * 10}),
        (side([SAME]), side(), {"decisions": 10 * (110 - 99), "fill_prices": -10, "costs": -1}),
        (side(), side([SAME]), {"decisions": -10 * 10, "costs": 1}),
        (side(orders=[(0, 1, 5)]), side(), {}),
        (side(held=(3.0, 0.0)), side(held=(1.0, 2.0)), {"held_at_start": 2 * 10 - 2 * 10}),
        (side(held=(3.0, 0.0)), side(), {"held_at_start": 30}),
        (side([SAME], profit=99 + 7), side([SAME]), {"income_and_valuation": 7}),
    ],
)
def test_each_part(live, backtest, expected):
    found = compared(live, backtest)
    assert {name: value for name, value in found.parts.items() if value} == pytest.approx(
        {name: value for name, value in expected.items() if value}
    )
    assert sum(found.parts.values()) == pytest.approx(found.difference)


def test_what_is_the_same_is_told_apart_from_what_is_not():
    live = side([SAME, (1, 1, 5, 40.0, 0.0, 40.0)], [(0, 0, 10), (1, 1, 5), (2, 1, 7)])
    backtest = side([SAME, (1, 1, 5, 41.0, 0.0, 40.0)], [(0, 0, 10), (1, 1, 5), (2, 1, 8)])
    found = compared(live, backtest)
    assert found.is_same_decision.tolist() == [True, True, False]
    assert found.is_same_fill.tolist() == [True, False, True]
    told = attribution_view.document(found)
    assert (told["compared"], told["decided_otherwise"], told["filled_otherwise"]) == (3, 1, 1)
    assert attribution_view.sentence(found, "USD").endswith("fill prices: the same shares traded at other prices.")
    largest = attribution_view.largest_table(found)
    assert [row[:2] for row in largest.rows] == [["3 Jan 2024", "IBM"]]
    assert largest.rows[0][-1] == "+5.00"
    assert [column.name for column in attribution_view.columns(found)] == [
        "decision_bar", "ticker", "wanted_live", "wanted_backtest", "traded_live", "traded_backtest", "price_live",
        "price_backtest", "fees_live", "fees_backtest", "decisions", "unfilled", "fill_prices", "costs",
    ]  # fmt: skip


def test_decisions_within_a_day_are_told_apart():
    live, backtest = side([(0, 0, 12, 100.0, 1.0, 99.0)]), side([SAME])
    later = [replace(each, order_bar=each.order_bar + HOURS, decided=each.decided + HOURS) for each in (live, backtest)]
    assert attribution_view.largest_table(compared(*later)).rows[0][0] == "2 Jan 2024 15:30"


def test_no_difference_is_said_to_be_none():
    found = compared(side([SAME]), side([SAME]))
    assert attribution_view.sentence(found, "USD").endswith("no difference.")
    assert attribution_view.largest_table(found) is None
    nothing = compared(side(), side())
    assert (len(nothing), nothing.difference) == (0, 0.0)


fills = st.lists(
    st.tuples(
        st.integers(0, 4), st.integers(0, 1), st.integers(-20, 20).filter(bool), st.floats(1, 200), st.floats(0, 5),
        st.one_of(st.floats(1, 200), st.just(float("nan"))),
    ),
    max_size=12,
)  # fmt: skip
orders = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1), st.integers(-30, 30).filter(bool)), max_size=12)
held = st.tuples(st.floats(-9, 9), st.floats(-9, 9))


@given(fills, orders, held, fills, orders, held)
@settings(max_examples=300, deadline=None)
def test_the_parts_are_the_whole_and_nothing_is_left_for_valuation(a, a_orders, a_held, b, b_orders, b_held):
    found = compared(side(a, a_orders, a_held), side(b, b_orders, b_held))
    assert sum(found.parts.values()) == pytest.approx(found.difference, abs=1e-4)
    assert found.parts["income_and_valuation"] == pytest.approx(0, abs=1e-4)
