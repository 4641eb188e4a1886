"""The bundled risk rules, one by one: at the limit, beyond it, and what each leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from framework.errors import ConfigError
from framework.plugin_manager import PluginManager
from framework.trading.risk import NamedRule, review_orders
from tests.trading.test_risk import NAN, proposal

MANAGER = PluginManager.load()


def review(name, params, seen):
    return review_orders([NamedRule(name, MANAGER.create("risk rule", name, params))], seen)


def test_these_rules_come_with_the_package():
    names = [item.name for item in MANAGER.listing() if item.kind == "risk rule"]
    assert names == [
        "max_drawdown", "max_gross", "max_net", "max_order_notional", "max_orders_per_minute", "max_weight",
        "price_collar", "restricted", "stale_price",
    ]  # fmt: skip


# Equity is 10,000 and every price 10 where nothing else is said.
@pytest.mark.parametrize(
    ("name", "params", "seen", "left", "reasons"),
    [
        ("max_gross", {"limit": 1.0}, proposal([0, 0], [(0, 500), (1, 500)]), [500, 500], []),
        ("max_gross", {"limit": 1.0}, proposal([0, 0], [(0, 600), (1, 600)]), [500, 500], ["max_gross: 1.2 > 1"] * 2),
        ("max_gross", {"limit": 1.0}, proposal([0, 0], [(0, 600), (1, -600)]), [500, -500], ["max_gross: 1.2 > 1"] * 2),
        # What is held leaves less room, and what is sold makes some.
        ("max_gross", {"limit": 1.0}, proposal([800, 0], [(0, -300), (1, 600)]), [-300, 500], ["max_gross: 1.1 > 1"]),
        ("max_gross", {"limit": 1.0}, proposal([800], [(0, 300)], pending=np.array([100.0])), [100],
         ["max_gross: 1.2 > 1"]),
        ("max_gross", {"limit": 0.0}, proposal([100, 0], [(0, -50), (1, 1)]), [-50, 0], ["max_gross: 0.051 > 0"]),
        ("max_gross", {"limit": 1.0}, proposal([5], [(0, 5), (0, -5)], equity=-3.0), [0, -5], ["max_gross: inf > 1"]),
        ("max_net", {"limit": 0.5}, proposal([0, 0], [(0, 500)]), [500], []),
        ("max_net", {"limit": 0.5}, proposal([0, 0], [(0, 1000), (1, -500)]), [1000, -500], []),
        ("max_net", {"limit": 0.5}, proposal([0, 0], [(0, 1000), (1, -100)]), [600, -100],
         ["max_net: 0.9 beyond 0.5"]),
        ("max_net", {"limit": 0.5}, proposal([0, 0], [(0, 100), (1, -1000)]), [100, -600],
         ["max_net: -0.9 beyond 0.5"]),
        ("max_weight", {"limit": 0.5}, proposal([0, 0], [(0, 500), (1, -500)]), [500, -500], []),
        ("max_weight", {"limit": 0.5}, proposal([0, 0], [(0, 520), (1, 9)]), [500, 9], ["max_weight: 0.52 > 0.5"]),
        ("max_weight", {"limit": 0.5}, proposal([400], [(0, 200)]), [100], ["max_weight: 0.6 > 0.5"]),
        ("max_weight", {"limit": 0.5}, proposal([0], [(0, 200), (0, 400, 9.0)]), [200, 300], ["max_weight: 0.6 > 0.5"]),
        ("max_weight", {"limit": 0.1}, proposal([0], [(0, 1000)], prices=[3.0]), [333], ["max_weight: 0.3 > 0.1"]),
        ("max_order_notional", {"limit": 100}, proposal([0], [(0, 10)]), [10], []),
        ("max_order_notional", {"limit": 100}, proposal([0], [(0, 11)]), [10], ["max_order_notional: 110.00 > 100"]),
        ("max_order_notional", {"limit": 100}, proposal([0], [(0, 10, 12.5)]), [8],
         ["max_order_notional: 125.00 > 100"]),
        ("max_order_notional", {"limit": 100}, proposal([50], [(0, -50)]), [-50], []),
        ("max_orders_per_minute", {"limit": 2}, proposal([0, 0], [(0, 1), (1, 1)]), [1, 1], []),
        ("max_orders_per_minute", {"limit": 2}, proposal([0, 0], [(0, 1), (1, 1)], orders_last_minute=1), [1, 0],
         ["max_orders_per_minute: 3 > 2"]),
        ("max_orders_per_minute", {"limit": 1}, proposal([0, 9], [(0, 1), (1, -1)]), [0, -1],
         ["max_orders_per_minute: 2 > 1"]),
        ("max_orders_per_minute", {"limit": 1}, proposal([0, 9], [(1, -1)], orders_last_minute=7), [-1], []),
        ("price_collar", {"percent": 5}, proposal([0], [(0, 1, 10.5)]), [1], []),
        ("price_collar", {"percent": 5}, proposal([0], [(0, 1, 10.51)]), [0], ["price_collar: 5.1 % > 5 %"]),
        ("price_collar", {"percent": 5}, proposal([0], [(0, 1, 5.0)]), [1], []),  # better is no danger
        ("price_collar", {"percent": 5}, proposal([0], [(0, -1, 9.5)]), [-1], []),
        ("price_collar", {"percent": 5}, proposal([0], [(0, -1, 9.4)]), [0], ["price_collar: 6 % > 5 %"]),
        ("price_collar", {"percent": 5}, proposal([9], [(0, -1, 9.4)]), [-1], []),  # an exit passes
        ("price_collar", {"percent": 5}, proposal([0], [(0, 1), (0, 1, NAN, 20.0)]), [1, 1], []),
        ("price_collar", {"percent": 5}, proposal([0], [(0, 1, 12.0, 11.5)]), [0], ["price_collar: 20 % > 5 %"]),
        ("stale_price", {}, proposal([0], [(0, 1)]), [1], []),
        ("stale_price", {}, proposal([0], [(0, 1)], price_age_bars=np.array([1.0])), [0], ["stale_price: 1 bars > 0"]),
        ("stale_price", {"bars": 3}, proposal([0, 9, 0], [(0, 1), (1, -1), (2, 1)],
         price_age_bars=np.array([3.0, 4.0, 4.0])), [1, -1, 0], ["stale_price: 4 bars > 3"]),
        ("restricted", {"tickers": ["B"]}, proposal([0, 9], [(0, 1), (1, -4), (1, 1)]), [1, 0, 0],
         ["restricted: on the list, reductions too", "restricted: on the list"]),
        ("restricted", {"tickers": []}, proposal([0], [(0, 1)]), [1], []),
    ],
)  # fmt: skip
def test_a_rule_at_and_beyond_its_limit(name, params, seen, left, reasons):
    found = review(name, params, seen)
    assert found.kept.tolist() == left
    assert [refusal.reason for refusal in found.refusals] == reasons
    assert found.halt is None


@pytest.mark.parametrize(
    ("drawdown", "halt"),
    [(0.0, None), (-0.2, None), (-0.201, "max_drawdown: 0.201 > 0.2"), (-1.0, "max_drawdown: 1 > 0.2")],
)
def test_a_drawdown_beyond_the_limit_halts(drawdown, halt):
    found = review("max_drawdown", {"limit": 0.2}, proposal([5, 0], [(0, -5), (1, 5)], drawdown=drawdown))
    assert found.halt == halt
    assert found.kept.tolist() == [-5.0, 5.0 if halt is None else 0.0]


@pytest.mark.parametrize(
    ("name", "text", "detail"),
    [
        ("max_gross", "max_gross: over limit by price", "0.6 > 0.5"),
        ("max_net", "max_net: over limit by price", "0.6 beyond 0.5"),
        ("max_weight", "max_weight: over limit by price: A", "0.6 > 0.5"),
    ],
)
def test_a_book_over_a_limit_by_price_is_reported_and_not_traded(name, text, detail):
    found = review(name, {"limit": 0.5}, proposal([600, 0], []))
    assert found.notes == ((text, detail),)
    assert found.refusals == ()
    assert review(name, {"limit": 0.6}, proposal([600, 0], [])).notes == ()
    assert review(name, {"limit": 0.5}, proposal([600, 0], [(0, -100)])).notes == ()
    bought = review(name, {"limit": 0.5}, proposal([600, 0], [(0, 1)]))
    assert bought.kept.tolist() == [0.0]
    assert bought.notes == ((text, detail),)


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("max_gross", {"limit": -1}, "parameter 'limit' was -1: Input should be greater than or equal to 0"),
        ("max_gross", {"limit": "much"}, "parameter 'limit' was 'much'"),
        ("max_gross", {"limit": float("nan")}, "parameter 'limit' was nan"),
        ("max_gross", {}, "needs the parameter 'limit'"),
        ("max_net", {"limitt": 1}, "has no parameter 'limitt' (it has: limit); did you mean 'limit'?"),
        ("max_weight", {"limit": -0.1}, "parameter 'limit' was -0.1"),
        ("max_order_notional", {"limit": 0}, "parameter 'limit' was 0"),
        ("max_orders_per_minute", {"limit": 0}, "parameter 'limit' was 0"),
        ("max_orders_per_minute", {"limit": 1.5}, "parameter 'limit' was 1.5"),
        ("max_drawdown", {"limit": 0}, "parameter 'limit' was 0"),
        ("max_drawdown", {"limit": 1}, "parameter 'limit' was 1"),
        ("max_drawdown", {"limit": -0.2}, "parameter 'limit' was -0.2"),
        ("price_collar", {"percent": 0}, "parameter 'percent' was 0"),
        ("stale_price", {"bars": -1}, "parameter 'bars' was -1"),
        ("restricted", {"tickers": "AAPL"}, "parameter 'tickers' was 'AAPL'"),
    ],
)
def test_parameters_have_bounds(name, params, says):
    with pytest.raises(ConfigError) as caught:
        MANAGER.create("risk rule", name, params)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("max_weight", {"limit": 0.1}),
        ("max_gross", {"limit": 0.1}),
        ("max_net", {"limit": 0.1}),
        ("max_order_notional", {"limit": 1000.0}),
    ],
)
def test_a_limit_is_one_of_the_portfolios_currency(name, params):
    """Shares at 100 that are worth 25 to the portfolio: 40 of them are a tenth of 10,000, and 1,000."""
    asked = proposal([0], [(0, 500)], prices=[100.0], rates=np.array([0.25]))
    assert review(name, params, asked).kept.tolist() == [40.0]
