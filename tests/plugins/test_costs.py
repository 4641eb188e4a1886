"""Bundled commission and slippage models: what they cost, for arrays and single numbers alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from framework.errors import ConfigError
from framework.plugin_manager import PluginManager
from framework.trading.costs import CommissionModel, SlippageModel

PLUGINS = PluginManager.load([], None)
MONEY = some.floats(0.01, 1e9)


def commission(name: str, **params: Any) -> CommissionModel:
    found: CommissionModel = PLUGINS.create("commission model", name, params)
    return found


def slippage(name: str, **params: Any) -> SlippageModel:
    found: SlippageModel = PLUGINS.create("slippage model", name, params)
    return found


@pytest.mark.parametrize(
    ("notional", "fees"), [(0.0, 0.0), (5_000.0, 5.0), (10_000.0, 10.0), (30_000.0, 20.0), (110_000.0, 42.0)]
)
def test_each_tier_takes_its_part(notional: float, fees: float) -> None:
    model = commission("tiered", tiers=[[0, 0.001], [10_000, 0.0005], [50_000, 0.0002]])
    assert model.fees(1.0, notional, notional) == pytest.approx(fees)


@given(some.lists(some.tuples(some.floats(1, 1e5), some.floats(0, 0.1)), max_size=4), some.lists(MONEY, min_size=1))
def test_tiers_are_what_a_loop_over_them_says(parts: list[tuple[float, float]], notionals: list[float]) -> None:
    starts = [0.0, *np.cumsum([width for width, _ in parts]).tolist()]
    rates = [0.002, *(rate for _, rate in parts)]
    model = commission("tiered", tiers=list(zip(starts, rates, strict=True)), minimum=0.5)
    ends = [*starts[1:], np.inf]
    for notional in notionals:
        wanted = sum(
            rate * (min(notional, end) - start)
            for start, end, rate in zip(starts, ends, rates, strict=True)
            if notional > start
        )
        assert model.fees(1.0, notional, notional) == pytest.approx(max(wanted, 0.5), rel=1e-9, abs=1e-9)
    array = np.array(notionals)
    np.testing.assert_array_equal(model.fees(array, array, array), [model.fees(each, each, each) for each in notionals])


@pytest.mark.parametrize("tiers", [[], [[1, 0.1]], [[0, 0.1], [0, 0.2]], [[0, 0.1], [9, 0.1], [5, 0.1]]])
def test_tiers_that_do_not_rise_from_zero_are_refused(tiers: list[list[float]]) -> None:
    with pytest.raises(ConfigError, match="allowed: rising, the first at 0"):
        commission("tiered", tiers=tiers)
    with pytest.raises(ConfigError, match="tiers"):
        commission("tiered", tiers=[[0, -0.1]])


def test_half_a_spread_is_an_amount_per_share() -> None:
    model = slippage("half_spread", amount=0.02)
    assert model.slippage_bps(1, 10.0, 50.0, np.nan) == pytest.approx(4.0)
    assert model.slippage_bps(-1, 10.0, 0.01, np.nan) == 9_999.0
    np.testing.assert_allclose(model.slippage_bps(1, np.ones(2), np.array([50.0, 100.0]), np.ones(2)), [4.0, 2.0])


def test_a_larger_part_of_the_volume_costs_its_square() -> None:
    model = slippage("volume_share", impact=0.5, most=0.2, bps=1.0)
    assert float(model.slippage_bps(1, 1_000.0, 10.0, 100_000.0)) == pytest.approx(1.0 + 1e4 * 0.5 * 0.01**2)
    assert float(model.slippage_bps(1, 2_000.0, 10.0, 100_000.0)) == pytest.approx(1.0 + 1e4 * 0.5 * 0.02**2)
    at_most = 1.0 + 1e4 * 0.5 * 0.2**2
    for quantity, volume in ((90_000.0, 100_000.0), (1.0, 0.0), (1.0, np.nan)):
        assert float(model.slippage_bps(-1, quantity, 10.0, volume)) == pytest.approx(at_most)


@given(some.floats(1e-9, 1e9), some.floats(0, 1e9), MONEY)
def test_arrays_and_numbers_give_the_same(quantity: float, volume: float, price: float) -> None:
    for model in (slippage("volume_share"), slippage("half_spread", amount=0.5)):
        one = float(model.slippage_bps(1, quantity, price, volume))
        many = model.slippage_bps(1, np.full(3, quantity), np.full(3, price), np.full(3, volume))
        assert np.asarray(many).tolist() == [one] * 3
        assert 0.0 <= one <= 9_999.0


def test_an_impact_that_could_take_the_whole_price_is_refused() -> None:
    with pytest.raises(ConfigError, match="move a price by up to 50,000 basis points; allowed: 9,999"):
        slippage("volume_share", impact=5.0, most=1.0)
