"""Strategies that peek are caught, with bar and ticker; strategies that don't are not."""

from typing import ClassVar

import numpy as np
import pytest

from framework import Strategy, indicators
from framework.engine.account import Terms
from framework.engine.lookahead import Looked, check_lookahead
from framework.errors import LookaheadError, StrategyError
from framework.trading.costs import Costs
from tests.engine.cases import Case, panel, timeline


@pytest.fixture
def case():
    rng = np.random.default_rng(3)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (120, 3)), axis=0))
    clock = timeline(120)
    return Case(panel(close * 1.001, close, clock), clock, None, Terms(10_000.0, 1.0, 0.0, Costs()))


class Honest(Strategy):
    def weights(self, panel):
        return np.where(panel.close > indicators.sma(panel.close, 10), 0.3, 0.0)


class HonestOnBar(Strategy):
    def on_bar(self, ctx):
        past = ctx.history(10)
        for column, ticker in enumerate(ctx.tickers):
            if ctx.close[column] > past.close[:, column].mean():
                ctx.order_target(ticker, 10)
            elif ctx.positions[column]:
                ctx.exit(ticker)


class NegativeShift(Strategy):
    def weights(self, panel):
        tomorrow = np.vstack([panel.close[1:], panel.close[-1:]])
        return np.where(tomorrow > panel.close, 0.3, 0.0)


class WholeSampleScale(Strategy):
    def weights(self, panel):
        score = (panel.close - panel.close.mean(axis=0)) / panel.close.std(axis=0)
        return np.where(score < 0, 0.3, 0.0)


class OneTickerOnce(Strategy):
    """Peeks in one cell only: the last but one bar of the second ticker."""

    def weights(self, panel):
        weights = np.full(panel.close.shape, np.nan)
        weights[-2, 1] = 0.3 if panel.close[-1, 1] > panel.close[-2, 1] else 0.0
        return weights


class BackFill(Strategy):
    def weights(self, panel):
        sparse = panel.close.copy()
        sparse[np.arange(len(sparse)) % 5 != 0] = np.nan
        return np.where(panel.to_pandas("close").where(~np.isnan(sparse)).bfill() > panel.close, 0.3, 0.0)


class ThroughTheBase(Strategy):
    """Climbs from the row it was given to the array that the row is a view of."""

    def on_bar(self, ctx):
        whole = ctx.close.base
        row = int(np.flatnonzero((whole == ctx.close).all(axis=1))[0])
        tomorrow = whole[min(row + 1, len(whole) - 1)]
        ctx.target_weights(np.where(tomorrow > ctx.close, 0.3, 0.0))


class NeedsAll(Strategy):
    def weights(self, panel):
        weights = np.full(panel.close.shape, np.nan)
        weights[110] = 0.1
        return weights


class KeepsATable(Strategy):
    """Sees no future, but what it has once computed it gives again, to whomever."""

    table = None

    def weights(self, panel):
        if KeepsATable.table is None:
            KeepsATable.table = Honest().weights(panel)
        return KeepsATable.table[: len(panel)]


class SharesAList(Strategy):
    """A list meant for one object is on the class."""

    bars: ClassVar[list[int]] = []

    def on_bar(self, ctx):
        self.bars.append(1)
        if len(self.bars) % 7 == 0:
            ctx.order("T01", len(self.bars))


class WantsRoundPrices(Strategy):
    """Looks ahead, and takes no prices but those on the grid."""

    def weights(self, panel):
        if (np.round(panel.close * 64) != panel.close * 64).any():
            raise ValueError("not on the grid")
        return NegativeShift().weights(panel)


class KnowsTheEnd(Strategy):
    def on_bar(self, ctx):
        if ctx.close.base is not None and len(ctx.close.base) > 100:
            ctx.order("T02", 1)


@pytest.mark.parametrize("honest", [Honest, HonestOnBar])
@pytest.mark.parametrize("schedule", ["every_bar", "weekly"])
def test_an_honest_strategy_passes(case, honest, schedule):
    assert check_lookahead(case.job(honest(), schedule=schedule), honest).moments >= 12


@pytest.mark.parametrize("honest", [Honest, HonestOnBar])
def test_an_honest_strategy_passes_where_the_first_decision_is_the_last_bar_left(case, honest):
    assert check_lookahead(case.job(honest(), schedule="weekly", first=14), honest).moments >= 12


@pytest.mark.parametrize("cheat", [NegativeShift, WholeSampleScale, BackFill, ThroughTheBase, OneTickerOnce])
def test_a_cheat_is_caught_with_bar_and_ticker(case, cheat):
    with pytest.raises(LookaheadError, match=r"strategy 'given' looks ahead: its decision for T0\d at bar 2005-"):
        check_lookahead(case.job(cheat()), cheat)


def test_orders_that_depend_on_the_end_are_caught(case):
    with pytest.raises(LookaheadError, match=r"decision for T02 .* are cut off"):
        check_lookahead(case.job(KnowsTheEnd()), KnowsTheEnd)


def test_a_strategy_that_fails_without_the_future_is_told_so(case):
    with pytest.raises(StrategyError, match="runs on all 120 bars but fails on the first 13 of them"):
        check_lookahead(case.job(NeedsAll()), NeedsAll)


def test_what_fails_after_another_run_is_told_so(case):
    said = (
        r"'given' runs on all 120 bars, but fails on them right after a run on the first 13: returned weights of shape "
        r"\(13, 3\), expected \(120, 3\) .* It depends on what an earlier run left in its module or on its class"
    )
    with pytest.raises(StrategyError, match=said):
        check_lookahead(case.job(KeepsATable()), KeepsATable)
    assert KeepsATable.table is None


def test_what_is_shared_by_all_objects_is_told_so(case):
    said = r"does not decide the same twice on the same bars: for T01 at bar 2005-.* left in its module or on its class"
    with pytest.raises(StrategyError, match=said):
        check_lookahead(case.job(SharesAList()), SharesAList)


def test_who_fails_on_shaken_prices_is_not_excused():
    close = np.round(np.random.default_rng(1).uniform(20, 30, (80, 2)))
    clock = timeline(80)
    case = Case(panel(close, close, clock), clock, None, Terms(1000.0, 1.0, 0.0, Costs()))
    with pytest.raises(LookaheadError, match="cut off"):
        check_lookahead(case.job(WantsRoundPrices()), WantsRoundPrices)


def test_there_is_nothing_to_check_in_a_single_bar(case):
    looked = check_lookahead(case.job(Honest(), first=119), Honest)
    assert looked == Looked(0)
    assert looked.describe("given") == "lookahead in given not tried: no decision has a bar after it"


def test_an_intraday_daily_schedule_is_cut_between_sessions_only():
    close = np.linspace(10, 20, 40)[:, None]
    clock = timeline(40, 8)
    case = Case(panel(close, close, clock), clock, None, Terms(1000.0, 1.0, 0.0, Costs()))
    assert check_lookahead(case.job(HonestOnBar(), schedule="daily"), HonestOnBar).moments == 4
