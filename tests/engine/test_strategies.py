"""The bundled strategies do what their pages say."""

import numpy as np
import pytest

from framework import ConfigError
from framework.engine.account import Terms
from framework.plugin_manager import PluginManager
from framework.trading.costs import Costs
from tests.engine.cases import Case, panel, timeline
from tests.engine.test_simulator import check_identity, same


@pytest.fixture(scope="module")
def plugins():
    return PluginManager.load()


@pytest.fixture
def run(plugins):
    def make(case, name, params=None, **changes):
        strategy = plugins.create("strategy", name, params or {})
        return case.run(
            strategy, make_indicator=lambda kind, given: plugins.create("indicator", kind, given), **changes
        )

    return make


def market(seed=1, bars=400, tickers=4, gaps=0.0):
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (bars, tickers)), axis=0))
    opens = close * np.exp(rng.normal(0, 0.005, close.shape))
    missing = rng.random(close.shape) < gaps
    opens[missing] = close[missing] = np.nan
    clock = timeline(bars)
    return Case(panel(opens, close, clock), clock, None, Terms(100_000.0, 1.0, 0.005, Costs()))


@pytest.mark.parametrize("rebalance", ["on_signal", "every_bar"])
@pytest.mark.parametrize(("first", "gaps"), [(0, 0.0), (100, 0.0), (60, 0.1)])
def test_both_styles_of_sma_cross_are_one_strategy(run, rebalance, first, gaps):
    case = market(gaps=gaps)
    params = {"fast": 5, "slow": 15, "rebalance": rebalance}
    one, other = (run(case, name, params, first=first) for name in ("sma_cross", "sma_cross_on_bar"))
    assert len(one.trades) > 20
    same(one, other)


def test_sma_cross_trades_only_on_its_own_signal(run):
    case = market(tickers=1)
    trades = run(case, "sma_cross", {"fast": 5, "slow": 15}).trades
    # In, out, in, out: never two of a kind in a row.
    assert (np.diff(np.sign(trades.quantity)) != 0).all()


def test_sma_cross_does_not_adopt_a_signal_from_before_start(run):
    close = np.linspace(10, 20, 80)[:, None]
    clock = timeline(80)
    case = Case(panel(close, close, clock), clock, None, Terms(1000.0, 1.0, 0.0, Costs()))
    assert len(run(case, "sma_cross", {"fast": 3, "slow": 9}).trades) == 1
    assert len(run(case, "sma_cross", {"fast": 3, "slow": 9}, first=40).trades) == 0


def test_sma_cross_weight_is_per_ticker(run):
    case = market(tickers=2)
    result = run(case, "sma_cross", {"fast": 5, "slow": 15, "weight": 0.1})
    assert (result.gross / result.equity).max() < 0.25


def test_buy_and_hold_buys_each_ticker_once_when_it_appears(run):
    case = market(tickers=3)
    for name in ("open", "close"):
        values = getattr(case.panel, name)
        values.setflags(write=True)
        values[:50, 2] = np.nan
        values[1, 1] = np.nan
    trades = run(case, "buy_and_hold").trades
    # The second ticker's first order found no bar and was asked for again.
    assert sorted(zip(trades.ticker.tolist(), trades.filled.tolist(), strict=True)) == [(0, 1), (1, 3), (2, 51)]


def test_momentum_holds_the_strongest_at_month_ends(run):
    bars = 300
    growth = np.array([0.003, 0.001, -0.001, 0.002])
    close = 50 * np.exp(np.arange(bars)[:, None] * growth[None, :])
    clock = timeline(bars)
    case = Case(panel(close, close, clock), clock, None, Terms(100_000.0, 1.0, 0.0, Costs()))
    params = {"lookback": 40, "skip": 5, "top": 2}
    result = run(case, "momentum", params, schedule="monthly")
    months = clock.session.astype("datetime64[M]")
    decided = np.unique(result.trades.decided)
    assert (months[decided] != clock.next_session[decided].astype("datetime64[M]")).all()
    assert set(result.trades.ticker[result.trades.quantity > 0].tolist()) == {0, 3}


def test_momentum_holds_nothing_that_fell(run):
    close = 50 * np.exp(-0.001 * np.arange(200))[:, None] * np.ones((1, 2))
    clock = timeline(200)
    case = Case(panel(close, close, clock), clock, None, Terms(100_000.0, 1.0, 0.0, Costs()))
    params = {"lookback": 40, "skip": 5, "top": 1}
    assert len(run(case, "momentum", params).trades) == 0
    assert len(run(case, "momentum", {**params, "positive_only": False}).trades) > 0


def test_mean_reversion_buys_low_and_leaves_at_the_mean(run):
    case = market(seed=7)
    result = run(case, "mean_reversion", {"period": 20, "entry": 1.5})
    check_identity(case, result)
    buys = result.trades.quantity > 0
    assert buys.sum() > 5
    assert abs(int(buys.sum()) - int((~buys).sum())) <= 4


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("sma_cross", {"fast": 50, "slow": 20}, "fast was 50, slow 20; fast must be below slow"),
        ("momentum", {"lookback": 5, "skip": 5}, "skip must be below lookback"),
        ("mean_reversion", {"entry": 1, "exit": 1}, "exit must be below entry"),
        ("sma_cross", {"fast": 0}, "greater than 0"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(plugins, name, params, said):
    with pytest.raises(ConfigError, match=said):
        plugins.create("strategy", name, params)


def test_nothing_is_kept_between_bars_but_state(run, plugins):
    case = market(gaps=0.05)
    for name in ("sma_cross_on_bar", "buy_and_hold", "mean_reversion"):
        strategy = plugins.create("strategy", name, {})
        case.run(strategy, make_indicator=lambda kind, given: plugins.create("indicator", kind, given))
        again = case.run(strategy, make_indicator=lambda kind, given: plugins.create("indicator", kind, given))
        same(again, run(case, name))
