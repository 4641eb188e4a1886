"""An allocation as arithmetic: within limits, whole cents, nothing out of thin air."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework import Allocator
from framework.errors import AllocationError
from framework.trading.allocation import (
    CENT,
    AllocationTerms,
    Standing,
    listed,
    past_returns,
    plan_allocation,
    run_id,
)

NOW = datetime(2010, 3, 1, 21, tzinfo=UTC)


class Wants(Allocator):
    """Fractions of the total, as given."""

    weights: tuple[float, ...]

    def allocate(self, state):
        return np.array(self.weights) * state.total


class Answers(Allocator):
    """Whatever it is made with."""

    def __init__(self, answer):
        self._answer = answer

    def allocate(self, state):
        return self._answer(state)


def terms(count, **changes):
    values = {
        "portfolios": tuple("abcdefgh"[:count]),
        "floors": np.zeros(count),
        "caps": np.ones(count),
        "buffers": np.zeros(count),
    }
    return AllocationTerms(**values | changes)


def standing(equity, *, cash=None, master=0.0, halted=None, free=None):
    equity = np.array(equity, dtype=float) * 1e6
    cash = equity if cash is None else np.array(cash, dtype=float) * 1e6
    free = cash if free is None else np.array(free, dtype=float) * 1e6
    halted = np.zeros(len(equity), dtype=bool) if halted is None else np.array(halted)
    return Standing(equity, cash, free, master * 1e6, np.empty((0, len(equity))), halted)


def planned(weights, state, **changes):
    made = plan_allocation(Wants(weights=tuple(weights)), terms(len(weights), **changes), state, NOW)
    return [(array / 1e6).tolist() for array in (made.target, made.transfer, made.shortfall)]


money = st.floats(0, 1e9).map(lambda value: round(value, 6))
fraction = st.floats(0, 1)


@st.composite
def worlds(draw):
    count = draw(st.integers(1, 8))
    equity = np.array([draw(money) for _ in range(count)])
    cash = equity * np.array([draw(fraction) for _ in range(count)])
    free = cash * np.array([draw(fraction) for _ in range(count)])
    split = np.array([draw(fraction) for _ in range(count)])
    split = split / max(1.0, split.sum())
    floors = np.array([draw(fraction) for _ in range(count)])
    floors = floors / max(1.0, floors.sum())
    caps = np.array([floor + draw(fraction) * (1 - floor) for floor in floors])
    used = terms(
        count,
        floors=floors,
        caps=caps,
        buffers=np.array([draw(fraction) for _ in range(count)]) * 0.5,
        band=draw(st.sampled_from([0.0, 0.02])),
        min_transfer=draw(st.sampled_from([0.0, 5e6])),
        cash_buffer=draw(st.sampled_from([0.0, 0.1])),
    )
    state = standing(
        equity, cash=np.round(cash, 6), free=np.round(free, 6), master=draw(money), halted=draw_halts(draw, count)
    )
    return split, used, replace(state, **{name: np.rint(getattr(state, name)) for name in ("equity", "cash", "free")})


def draw_halts(draw, count):
    return [draw(st.integers(0, 4)) == 0 for _ in range(count)]


@given(worlds())
@settings(max_examples=400, deadline=None)
def test_what_always_holds(world):
    split, used, state = world
    plan = plan_allocation(Wants(weights=tuple(split.tolist())), used, state, NOW)
    gross = state.master_cash + state.equity.sum()
    assert plan.total <= gross * (1 - used.cash_buffer)
    assert (plan.transfer % CENT == 0).all()
    assert (plan.transfer[state.halted] == 0).all()
    moved = np.abs(plan.transfer)
    assert ((moved == 0) | (moved >= used.min_transfer)).all()
    gives = -np.minimum(plan.transfer, 0)
    assert (gives <= np.maximum(0, state.free - used.buffers * plan.target) + 1e-6).all()
    wanted = plan.target - state.equity
    assert (plan.transfer * wanted >= 0).all()
    assert (moved <= np.abs(wanted) + CENT).all()
    assert (plan.shortfall >= 0).all()
    assert (plan.shortfall + gives <= np.maximum(0, -wanted) + CENT).all()
    # The master account goes on giving what it may, and no more.
    kept = gross - plan.total
    left = state.master_cash - plan.transfer.sum()
    assert left >= min(state.master_cash, kept) - 1
    moving = ~state.halted
    assert (plan.target[moving] <= used.caps[moving] * plan.total + CENT).all()
    room = plan.total - state.equity[state.halted].sum()
    if used.floors[moving].sum() * plan.total <= room:
        assert (plan.target[moving] >= used.floors[moving] * plan.total - CENT).all()
    assert plan.target[moving].sum() <= max(0.0, room) + CENT * len(split)


def test_fixed_weights_over_master_and_portfolios():
    target, transfer, shortfall = planned([0.5, 0.25], standing([600, 100], master=300))
    assert target == [500.0, 250.0]
    assert transfer == [-100.0, 150.0]
    assert shortfall == [0.0, 0.0]


def test_only_free_cash_less_the_buffer_moves_and_the_rest_is_a_shortfall():
    state = standing([1000, 0], cash=[300, 0], free=[200, 0])
    target, transfer, shortfall = planned([0.5, 0.5], state, buffers=np.array([0.1, 0.0]))
    assert target == [500.0, 500.0]
    assert transfer == [-150.0, 150.0]  # 200 free less a tenth of the target
    assert shortfall == [350.0, 0.0]


def test_those_that_give_come_first():
    plan = plan_allocation(Wants(weights=(0.6, 0.1, 0.3)), terms(3), standing([100, 800, 100]), NOW)
    assert plan.order == (1, 0, 2)


def test_what_there_is_is_shared_where_not_all_wishes_can_be_met():
    state = standing([0, 0, 1000], cash=[0, 0, 100])
    _, transfer, _ = planned([0.3, 0.6, 0.1], state)
    assert transfer == [33.33, 66.66, -100.0]


def test_a_halted_portfolio_counts_at_its_value_and_others_share_the_rest():
    target, transfer, _ = planned([0.5, 0.5], standing([800, 100], master=100, halted=[True, False]))
    assert target == [800.0, 200.0]
    assert transfer == [0.0, 100.0]


def test_a_band_leaves_alone_what_is_near_but_never_the_empty_or_the_closed():
    state = standing([510, 480, 0, 10], master=0)
    _, transfer, _ = planned([0.5, 0.49, 0.01, 0.0], state, band=0.02)
    assert transfer == [0.0, 0.0, 10.0, -10.0]


def test_less_than_the_minimum_does_not_move():
    _, transfer, shortfall = planned([0.5, 0.5], standing([501, 499]), min_transfer=2e6)
    assert transfer == shortfall == [0.0, 0.0]


def test_the_cash_buffer_stays_with_the_master_account():
    _, transfer, _ = planned([1.0], standing([0], master=1000), cash_buffer=0.05)
    assert transfer == [950.0]


def test_floors_and_caps():
    target, _, _ = planned([1.0, 0.0], standing([0, 0], master=1000), floors=np.array([0.0, 0.2]))
    assert target == [800.0, 200.0]
    target, _, _ = planned([1.0, 0.0], standing([0, 0], master=1000), caps=np.array([0.7, 1.0]))
    assert target == [700.0, 0.0]


def test_nothing_at_all_is_no_reason_to_ask():
    def never(state):
        raise AssertionError

    plan = plan_allocation(Answers(never), terms(2), standing([0, 0]), NOW)
    assert plan.transfer.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda state: np.zeros(3), r"returned shape \(3,\), expected \(2,\)"),
        (lambda state: np.array([-1.0, 0.0]), r"wants portfolio a to be worth -1\.0; allowed: 0 or more"),
        (lambda state: np.array([0.0, np.nan]), r"wants portfolio b to be worth nan"),
        (lambda state: np.array([0.0, np.inf]), r"wants portfolio b to be worth inf"),
        (lambda state: np.array([800.0, 201.0]), r"wants to give out 1,001\.00, but there are 1,000\.00 in all"),
        (lambda state: "much", r"allocate\(\) failed: ValueError"),
        (lambda state: state.equity.sort(), r"allocate\(\) failed: ValueError: .*read-only"),
    ],
)
def test_an_allocator_that_asks_for_what_cannot_be_is_told(answer, said):
    with pytest.raises(AllocationError, match=said):
        plan_allocation(Answers(answer), terms(2), standing([500, 500]), NOW)


def test_portfolios_that_owe_money_are_not_allocated_to():
    with pytest.raises(AllocationError, match=r"together are worth -10\.00"):
        plan_allocation(Wants(weights=(1.0,)), terms(1), standing([-10]), NOW)


def test_an_allocator_lists_portfolios_that_there_are():
    class Names(Allocator):
        names: tuple[str, ...]

        def portfolios(self, offered):
            return self.names

    assert listed(Names(names=("b", "a")), ["a", "b", "c"]) == ("a", "b")
    with pytest.raises(AllocationError, match=r"portfolio 'tec', which the config does not have; did you mean 'tech'"):
        listed(Names(names=("tec",)), ["tech", "rest"])
    with pytest.raises(AllocationError, match="lists no portfolio"):
        listed(Names(names=()), ["a"])


def test_returns_of_sessions():
    days = np.array(["2010-01-04", "2010-01-05", "2010-01-06", "2010-01-08"], dtype="datetime64[D]")
    values = np.array([0.0, 100.0, 165.0, 82.5])
    money_in = np.array([0.0, 100.0, 150.0, 150.0])
    wanted = np.array(["2010-01-05", "2010-01-06", "2010-01-07", "2010-01-08"], dtype="datetime64[D]")
    found = past_returns(days, values, money_in, wanted)
    assert found[[0, 1, 3]].tolist() == pytest.approx([0.0, 0.1, -0.5])
    assert np.isnan(found[2])


def test_a_run_id_names_allocator_session_and_slot():
    assert run_id("demo/daily", date(2010, 3, 1), "close") == "demo/daily:2010-03-01:close"
