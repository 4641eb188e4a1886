"""Decisions on the last bars alone are compared with those on all history: where they differ is found, and told."""

from __future__ import annotations

import re

import numpy as np
import pytest

from framework import Strategy, indicators
from framework.engine.account import Terms
from framework.engine.windows import Windows, compare_windows
from framework.errors import StrategyError
from framework.plugin_manager import PluginManager
from framework.trading.costs import Costs
from tests.engine.cases import Case, panel, timeline

PLUGINS = PluginManager.load()


def make_indicator(name, params):
    return PLUGINS.create("indicator", name, params)


@pytest.fixture
def case():
    rng = np.random.default_rng(5)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (300, 3)), axis=0))
    close[150:180, 2] = close[150, 2]
    clock = timeline(300)
    return Case(panel(close * 1.001, close, clock), clock, None, Terms(10_000.0, 1.0, 0.0, Costs()))


def compared(case, make, bars, **changes):
    return compare_windows(case.job(make(), **{"first": 20, "make_indicator": make_indicator} | changes), make, bars)


class Mean(Strategy):
    """Needs twenty bars."""

    def weights(self, panel):
        return np.where(panel.close > indicators.sma(panel.close, 20), 0.3, 0.0)


class MeanOnBar(Strategy):
    def setup(self, ctx):
        self._up = ctx.indicator("sma", period=20) < ctx.indicator("sma", period=1)

    def on_bar(self, ctx):
        ctx.target_weights(np.where(self._up.value, 0.3, 0.0))


class RunningMean(Strategy):
    """A sum over all history has other last bits than one over the window; prices that stand still show them."""

    def weights(self, panel):
        total = np.vstack([np.zeros(len(panel.tickers)), np.cumsum(panel.close, axis=0)])
        weights = np.zeros(panel.close.shape)
        weights[19:] = np.where(panel.close[19:] > (total[20:] - total[:-20]) / 20, 0.3, 0.0)
        return weights


class OnSignal(Strategy):
    """Asks once for each change, on whatever day: a weekly decision finds it in the rows since the last one."""

    def weights(self, panel):
        up = panel.close > indicators.sma(panel.close, 10)
        changed = np.zeros_like(up)
        changed[1:] = up[1:] != up[:-1]
        return np.where(changed, up * 0.3, np.nan)


class AllTimeHigh(Strategy):
    """Remembers all history."""

    def weights(self, panel):
        return np.where(panel.close > 0.95 * np.maximum.accumulate(panel.close), 0.3, 0.0)


class CountsBars(Strategy):
    """Keeps on itself what belongs into ctx.state."""

    def __init__(self):
        self._bars = 0

    def on_bar(self, ctx):
        self._bars += 1
        ctx.order("T00", self._bars, limit=7.0, time_in_force="GTC")


class CountsInState(Strategy):
    def on_bar(self, ctx):
        ctx.state["bars"] = ctx.state.get("bars", 0) + 1
        ctx.order("T00", ctx.state["bars"])


class ByItsBook(Strategy):
    """Looks at all that a context has of the account, and of what became of orders."""

    def on_bar(self, ctx):
        if ctx.lapsed:
            ctx.cancel(ctx.tickers[ctx.lapsed[0].ticker])
            assert ctx.lapsed[0].bar < len(ctx.history(1000))
        if ctx.positions[0] > 5:
            ctx.exit("T00")
        else:
            ctx.order("T00", 1 + ctx.cash / ctx.equity)
        ctx.target_weights({"T01": float(0.1 + ctx.weights[1] / 2 + ctx.share_values[1] / 1e6)})
        ctx.order("T02", 1, limit=1.0)


class WantsManyBars(Strategy):
    def on_bar(self, ctx):
        if len(ctx.history(50)) < 20:
            raise ValueError("too few bars")


@pytest.mark.parametrize("make", [Mean, MeanOnBar, RunningMean, OnSignal, CountsInState, ByItsBook])
@pytest.mark.parametrize(("schedule", "tried"), [("every_bar", 50), ("weekly", 40)])
def test_who_needs_no_more_than_the_window_decides_the_same(case, make, schedule, tried):
    found = compared(case, make, 20, schedule=schedule)
    assert found == Windows(20, tried)
    assert found.describe() == f"the last 20 bars decide as all history does (compared at {tried} bars)"


@pytest.mark.parametrize("make", [Mean, MeanOnBar])
def test_a_bar_too_few_is_found(case, make):
    assert compared(case, make, 19).differing > 10


@pytest.mark.parametrize("make", [Mean, MeanOnBar])
def test_too_short_a_window_is_found_and_which_would_do(case, make):
    found = compared(case, make, 6)
    assert (found.bars, found.tried, found.enough) == (6, 50, 21)
    assert 0 < found.differing <= 50
    assert found.worst.startswith("for T0")
    assert found.worst.endswith((": 0 of equity instead of 0.3 of equity", ": 0.3 of equity instead of 0 of equity"))
    assert f"at {found.differing} of 50 bars compared ({found.differing / 50:.0%}); most for T0" in found.describe()
    assert found.describe().endswith("With `lookback: 20` it decides the same at all of them")


def test_from_no_lookback_at_all_one_is_found(case):
    found = compared(case, Mean, 1)
    assert (found.tried, found.enough) == (50, 33)
    assert found.describe().endswith("With `lookback: 32` it decides the same at all of them")


def test_what_remembers_all_history_has_no_window(case):
    found = compared(case, AllTimeHigh, 21)
    assert found.differing > 10
    assert (found.enough, found.longest) == (None, 161)
    assert "No `lookback` up to 160 is enough, and there is too little history to try longer ones;" in found.describe()


def test_what_is_kept_on_the_object_is_gone_on_a_window(case):
    found = compared(case, CountsBars, 21)
    assert found.differing == 50
    said = r"for T00 at bar 2005-\d\d-\d\dT00:00: 1 shares limit 7 GTC instead of 2\d\d shares limit 7 GTC"
    assert re.fullmatch(said, found.worst)


def test_without_more_history_than_the_window_there_is_nothing_to_compare(case):
    found = compared(case, AllTimeHigh, 300)
    assert found == Windows(300, 0)
    assert found.describe() == "nothing to compare: there is no more history than the 300 bars that a decision sees"


def test_with_hardly_more_history_no_lookback_is_named(case):
    found = compared(case, AllTimeHigh, 200)
    assert found.differing
    assert found.describe().endswith("Raise `lookback` (there is too little history to tell how far)")


def test_who_fails_on_the_window_alone_is_told_so(case):
    said = r"fails at bar 2005-01-23T00:00 on the last 19 bars, .* live would give it there: ValueError: too few bars"
    with pytest.raises(StrategyError, match=said):
        compared(case, WantsManyBars, 19)


@pytest.mark.parametrize("name", ["buy_and_hold", "mean_reversion", "momentum", "sma_cross", "sma_cross_on_bar"])
@pytest.mark.parametrize("schedule", ["every_bar", "monthly"])
def test_bundled_strategies_decide_on_the_default_window_as_on_all_history(name, schedule):
    rng = np.random.default_rng(2)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (700, 4)), axis=0))
    opens = close * 1.001
    missing = rng.random(close.shape) < 0.03
    missing[:350, 1] = True
    close[missing] = opens[missing] = np.nan
    clock = timeline(700)
    case = Case(panel(opens, close, clock), clock, None, Terms(100_000.0, 1.0, 0.0, Costs()))
    found = compared(case, lambda: PLUGINS.create("strategy", name, {}), 251, first=250, schedule=schedule)
    assert (found.tried, found.differing, found.worst) == (50 if schedule == "every_bar" else found.tried, 0, "")
    assert found.tried >= 14
