"""Final equity on the sample's prices: beside what two other backtesters gave, and beside the reference simulators."""

from __future__ import annotations

import json
from decimal import Decimal
from importlib import import_module

import numpy as np
import pytest

from framework.data.calendars import timeline
from framework.engine.schedule import decision_rows
from tests.engine.order_reference import run as order_reference
from tests.engine.reference import run as reference

#: Untyped, as all benchmarks are; mypy does not follow it.
agreement = import_module("bench.adapters.agreement")
KEPT = json.loads(agreement.KEPT.read_text())["final_equity"]
#: Adjusted prices have more digits than our fills, which are in millionths (docs/agreement.md).
AT_MOST = {"as adjusted": 1e-6, "rounded": 1e-10}


def exact(array):
    return [[None if np.isnan(value) else Decimal(repr(float(value))) for value in row] for row in array]


@pytest.mark.parametrize("row", KEPT, ids=lambda row: f"{row['strategy']} {row['tickers']}")
@pytest.mark.parametrize("kind", AT_MOST)
def test_final_equity_as_in_other_backtesters(row, kind):
    panel = agreement.sample(tuple(row["tickers"].split()), is_rounded=kind == "rounded")
    result = agreement.ours(row["strategy"], panel)
    assert result.trimmed_fills == 0, "the others refuse what we cut to the cash"
    assert set(row[kind]) >= {"backtrader"}
    for peer, equity in row[kind].items():
        assert result.equity[-1] == pytest.approx(equity, rel=AT_MOST[kind]), peer


def test_what_is_kept_covers_three_strategies_on_all_portfolios():
    assert len(KEPT) == len(agreement.STRATEGIES) * len(agreement.PORTFOLIOS) == 12
    assert sum("backtesting" in row["as adjusted"] for row in KEPT) == 9


@pytest.mark.parametrize("tickers", agreement.PORTFOLIOS, ids=" ".join)
@pytest.mark.parametrize("name", ["sma_cross", "rebalance"])
def test_equity_of_target_weights_as_in_the_reference(name, tickers):
    panel = agreement.sample(tickers)
    strategy, schedule = agreement.made(name, tickers)
    if name == "sma_cross":
        weights = strategy.weights(panel)
    else:
        weights = np.full(panel.close.shape, np.nan)
        weights[decision_rows(schedule, timeline("XNYS", "1d", panel.timestamps), 0)] = strategy.weight
    cash, rate = Decimal(agreement.CASH), Decimal(str(agreement.COMMISSION))
    prices = exact(panel.open), exact(panel.close)
    trades, equity = reference(*prices, exact(weights), cash, Decimal(1), Decimal(0), rate, Decimal(0))
    result = agreement.ours(name, panel)
    assert len(result.trades) == len(trades) > 50
    assert result.equity.tolist() == pytest.approx([float(value) for value in equity], rel=1e-9)


@pytest.mark.parametrize("tickers", agreement.PORTFOLIOS, ids=" ".join)
def test_equity_of_stop_orders_as_in_the_reference(tickers):
    panel, calls = agreement.sample(tickers, is_rounded=True), {}
    result = agreement.ours("breakout", panel, on_decision=lambda row, _, orders: calls.update({row: orders}))
    asked = [
        [
            ("order", each.column, Decimal(each.quantity), {"stop": Decimal(repr(each.terms.stop_price))})
            for each in calls.get(row, [])
        ]
        for row in range(len(panel))
    ]
    bars = [
        list(zip(*fields, strict=True))
        for fields in zip(*(exact(getattr(panel, name)) for name in agreement.PRICES), strict=True)
    ]
    cash, rate = Decimal(agreement.CASH), Decimal(str(agreement.COMMISSION))
    lasts = [True] * len(panel)
    trades, _, cash_rows = order_reference(bars, asked, lasts, cash, Decimal(1), rate, Decimal(0))
    held = [sum(quantity for _, _, ticker, quantity, _ in trades if ticker == each) for each in range(len(tickers))]
    ended = cash_rows[-1] + sum(shares * close for shares, close in zip(held, exact(panel.close)[-1], strict=True))
    assert len(result.trades) == len(trades) > 100
    assert result.cash.tolist() == pytest.approx([float(value) for value in cash_rows], rel=1e-9)
    assert result.equity[-1] == pytest.approx(float(ended), rel=1e-9)
