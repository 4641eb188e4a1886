"""What a review of the simulator found, each held by a test."""

import numpy as np
import pytest

from framework import ConfigError, indicators
from framework.engine.account import Terms
from framework.errors import PluginError, StrategyError
from framework.plugin_manager import PluginManager
from framework.trading.costs import CommissionModel, Costs, SlippageModel
from framework.trading.trim import trim
from tests.engine.cases import Case, Fraction, Given, GivenOnBar, panel, timeline
from tests.engine.test_simulator import NAN, Orders, one


class Odd(CommissionModel):
    answer: float

    def fees(self, quantity, price, notional):
        return quantity * 0 + self.answer


class OddSlippage(SlippageModel):
    uses_quantity = False
    answer: float

    def slippage_bps(self, side, quantity, price, volume):
        return self.answer


class OddImpact(OddSlippage):
    uses_quantity = True


WEIGHTS = [[0.5], [NAN], [0.0], [NAN]]


@pytest.mark.parametrize("style", [Given, GivenOnBar])
@pytest.mark.parametrize("answer", [-1.0, float("nan"), float("inf")])
def test_fees_that_cannot_be_are_the_cost_models_fault(style, answer):
    case = one([[10]] * 4, [[10]] * 4, WEIGHTS, costs=Costs(Odd(answer=answer)))
    with pytest.raises(PluginError, match=r"commission model Odd gave fees of (-1.0|nan|inf)"):
        case.run(style(case.weights))


@pytest.mark.parametrize("style", [Given, GivenOnBar])
@pytest.mark.parametrize("model", [OddSlippage, OddImpact])
@pytest.mark.parametrize("answer", [20_000.0, -10_000.0, float("nan")])
def test_slippage_that_cannot_be_is_the_cost_models_fault(style, model, answer):
    case = one([[10]] * 4, [[10]] * 4, WEIGHTS, costs=Costs(None, model(answer=answer)))
    with pytest.raises(PluginError, match=rf"slippage model {model.__name__} gave"):
        case.run(style(case.weights))


def test_bps_stay_below_the_whole_price():
    plugins = PluginManager.load()
    with pytest.raises(ConfigError, match="less than 10000"):
        plugins.create("slippage model", "bps", {"bps": 10_000})


@pytest.mark.parametrize("style", [Given, GivenOnBar])
@pytest.mark.parametrize("tickers", [1, 9])
def test_a_price_too_small_to_be_rounded_is_not_traded_at(style, tickers):
    prices = [[1.4e-6] + [10.0] * (tickers - 1)] * 4
    weights = [[0.5 / tickers] * tickers] + [[NAN] * tickers] * 3
    case = one(prices, prices, weights)
    result = case.run(style(case.weights))
    assert 0 not in result.trades.ticker
    assert len(result.trades) == tickers - 1
    assert result.reasons() == {"price too small": 1}


@pytest.mark.parametrize("style", [Given, GivenOnBar])
@pytest.mark.parametrize("tickers", [1, 9])
@pytest.mark.parametrize("weight", [1e300, 1e7])
def test_absurd_weights_are_refused_in_words(style, tickers, weight):
    case = one([[10.0] * tickers] * 3, [[10.0] * tickers] * 3, [[weight] * tickers] + [[NAN] * tickers] * 2)
    with pytest.raises(StrategyError, match="weight"):
        case.run(style(case.weights))


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ((lambda ctx: ctx.order("T00", 5), lambda ctx: ctx.order("T00", -12)), 3.0),
        ((lambda ctx: ctx.order("T00", -4), lambda ctx: ctx.order("T00", 4)), 10.0),
        ((lambda ctx: ctx.order_target("T00", 20), lambda ctx: ctx.order("T00", -3)), 17.0),
        ((lambda ctx: ctx.order("T00", 5), lambda ctx: ctx.order_target("T00", 2)), 2.0),
        ((lambda ctx: ctx.order("T00", 5), lambda ctx: ctx.exit("T00")), 0.0),
    ],
)
def test_what_is_asked_of_a_ticker_at_one_bar_adds_up_to_one_order(calls, expected):
    strategy = Orders((0, lambda ctx: ctx.order("T00", 10)), (2, lambda ctx: [call(ctx) for call in calls]))
    result = one([[10]] * 6, [[10]] * 6, [[NAN]] * 6).run(strategy)
    assert strategy.seen[-1][2] == [expected]
    assert result.reasons() == {}
    assert (result.trades.decided == 2).sum() == (expected != 10.0)


def test_cheap_shares_by_the_thousand_million_are_trimmed_at_once():
    def fee(count, price):
        return 150e6 if count else 0.0

    kept = trim(100e6, [2.5e11], [100.0], fee, 1.0)
    assert kept == [0.0]
    kept = trim(1000e6, [2.5e11, 2.5e11], [100.0, 100.0], fee, 1.0)
    assert sum(count * 100.0 + 150e6 for count in kept) <= 1000e6
    assert sum(kept) > 6e6


def test_missed_month_ends_are_made_up_for():
    bars = 70
    close = np.linspace(10, 20, bars)[:, None]
    clock = timeline(bars)
    keep = clock.session.astype("datetime64[M]") == clock.next_session.astype("datetime64[M]")
    rows = np.flatnonzero(keep)
    short = type(clock)(*(getattr(clock, name)[rows] for name in ("timestamps", "opens", "available", "session")),
                        clock.next_session[rows])  # fmt: skip
    case = Case(panel(close[rows], close[rows], short), short, None, Terms(1000.0, 1.0, 0.0, Costs()))
    decided = Orders((0, lambda ctx: ctx.order("T00", 1)), (1, lambda ctx: ctx.order("T00", 1)))
    result = case.run(decided, schedule="monthly")
    months = short.session.astype("datetime64[M]")
    assert [str(months[row]) for row in result.trades.decided] == ["2005-01", "2005-02"]


def test_zscore_and_deviation_of_a_flat_price():
    for price in np.random.default_rng(1).uniform(0.1, 500, 50):
        flat = np.full((40, 1), price)
        assert (indicators.std(flat, 20)[19:] == 0.0).all()
        assert np.isnan(indicators.zscore(flat, 20)).all()


def strategies(name, params, case, **changes):
    plugins = PluginManager.load()
    strategy = plugins.create("strategy", name, params)
    return case.run(strategy, make_indicator=lambda kind, given: plugins.create("indicator", kind, given), **changes)


@pytest.mark.parametrize("name", ["sma_cross", "sma_cross_on_bar"])
def test_an_exit_that_found_no_bar_is_asked_for_again(name):
    up, down = np.linspace(10, 20, 40), np.linspace(20, 5, 40)
    close = np.column_stack([np.concatenate([up, down]), np.full(80, 10.0)])
    fast, slow = (indicators.sma(close[:, :1], period)[:, 0] for period in (3, 9))
    crossed = int(np.flatnonzero((fast < slow)[41:])[0]) + 41
    opens = close.copy()
    for row in (crossed + 1, crossed + 2):
        opens[row, 0] = close[row, 0] = np.nan
    clock = timeline(80)
    case = Case(panel(opens, close, clock), clock, None, Terms(1000.0, 1.0, 0.0, Costs()))
    trades = strategies(name, {"fast": 3, "slow": 9}, case).trades
    sold = trades.filled[(trades.ticker == 0) & (trades.quantity < 0)]
    assert sold.tolist() == [crossed + 3]


def test_momentum_leaves_a_ticker_that_trades_no_more():
    close = 50 * np.exp(np.arange(200)[:, None] * np.array([[0.003, 0.001]]))
    close[100:, 0] = np.nan
    strategy = PluginManager.load().create("strategy", "momentum", {"lookback": 40, "skip": 5, "top": 1})
    weights = strategy.weights(panel(close, close, timeline(200)))
    assert (weights[50:104] == [1.0, 0.0]).all()
    assert (weights[104:] == [0.0, 1.0]).all()


def test_fees_beyond_proceeds_take_cash_below_zero_and_that_is_said():
    costs = Costs(Fraction(rate=0.0, floor=1500.0))
    strategy = Orders((0, lambda ctx: ctx.order("T00", 1)), (2, lambda ctx: ctx.exit("T00")))
    result = one([[10]] * 5, [[10]] * 5, [[NAN]] * 5, cash=2000.0, costs=costs).run(strategy)
    assert result.cash[-1] == -1000.0
    assert result.overdrawn_bars == 2
