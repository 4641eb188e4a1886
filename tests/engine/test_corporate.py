"""Splits and dividends in the simulator: against independent references, on every path, and by hand."""

import itertools
from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from framework.plugins.data_sources.sample import Sample
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from framework import Strategy
from framework.data.adjust import adjust
from framework.data.flow_dates import DatedFlow
from framework.data.load import ensure
from framework.data.panels import panel_for
from framework.engine import bar_step, simulator
from framework.engine.account import Terms
from framework.engine.agenda import Interruptions
from framework.engine.simulator import simulate
from framework.errors import DataError
from framework.model.acting import Acting
from framework.model.bars import CorporateAction
from framework.model.rates import Rates
from framework.model.timeline import moment
from framework.trading.costs import Costs
from tests.engine.cases import Case, GivenOnBar, cases, panel, timeline
from tests.engine.reference import run as reference
from tests.engine.test_kernel import COMMISSIONS, SLIPPAGES, assert_same, costs, job
from tests.engine.test_orders import Calls, markets
from tests.engine.test_simulator import decimals
from tests.engine.test_simulator import same as exactly_the_same

SPLITS = ["2", "1.5", "0.1", "0.333333333333", "7"]
DIVIDENDS = ["0.18", "1.234567", "40"]


def acting(chosen, market, clock):
    """Actions as (row, ticker, kind, value); a ticker's rows need no bar."""
    actions = {
        (ticker, row, kind): CorporateAction(
            market.tickers[ticker % len(market.tickers)], clock.session[row % len(clock)].item(), kind, Decimal(value)
        )
        for row, ticker, kind, value in chosen
    }
    one_a_day = {(each.ticker, each.ex_date, each.kind): each for each in actions.values()}
    return Acting.of(market, clock.session, list(one_a_day.values()))


def assume_countable(result):
    """Prices here do not fall with a split, so shares may become more than a float counts."""
    quantities = np.concatenate([result.trades.quantity, result.actions.held, result.actions.change, [0.0]])
    assume(np.abs(quantities).max() * 1e9 < 2**51)


CHOSEN = st.lists(
    st.tuples(st.integers(0, 39), st.integers(0, 11), st.just("split"), st.sampled_from(SPLITS))
    | st.tuples(st.integers(0, 39), st.integers(0, 11), st.just("dividend"), st.sampled_from(DIVIDENDS)),
    max_size=12,
)


def told(found):
    """For the references: (row, ticker, kind, value), the ratio of a split as a fraction."""
    rows = [(act.row, act.column, act.action.kind, act.action.value) for act in found.acts if act.row > 0]
    return [(*act, Fraction(value).limit_denominator(10) if act[2] == "split" else value) for *act, value in rows]


@given(cases(), CHOSEN)
@settings(max_examples=300, deadline=None)
def test_same_trades_and_equity_as_the_reference(case, chosen):
    case = replace(case, terms=replace(case.terms, lots_per_share=1.0))
    found = acting(chosen, case.panel, case.clock)
    result = case.run(acting=found)
    model = case.terms.costs
    trades, equity = reference(
        decimals(case.panel.open),
        decimals(case.panel.close),
        decimals(case.weights),
        Decimal(case.terms.opening_cash),
        Decimal(1),
        Decimal(repr(case.terms.cash_buffer)),
        Decimal(repr(model.commission.rate)) if model.commission else Decimal(0),
        Decimal(repr(model.slippage.bps)) if model.slippage else Decimal(0),
        told(found),
    )
    mine = result.trades
    assert [(int(b), int(t)) for b, t in zip(mine.filled, mine.ticker, strict=True)] == [trade[:2] for trade in trades]
    assert mine.quantity.tolist() == pytest.approx([float(trade[2]) for trade in trades], rel=1e-12, abs=1e-9)
    assert mine.price.tolist() == [float(trade[3]) for trade in trades]
    # A fee that ends exactly on half a micro may round either way in floats: a micro per fill.
    slack = 1e-6 * (1 + len(mine))
    assert result.equity.tolist() == pytest.approx([float(value) for value in equity], rel=1e-9, abs=slack)


@given(cases(sessions=(1, 4), negative=True), CHOSEN)
@settings(max_examples=200, deadline=None)
def test_every_path_books_the_same(case, chosen):
    found = acting(chosen, case.panel, case.clock)
    usual = case.run(acting=found)
    assume_countable(usual)
    same = _same_but_for_parts if case.terms.lots_per_share == 1.0 else exactly_the_same
    same(usual, case.run(GivenOnBar(case.weights), acting=found))
    # With rates all goes order by order.
    ones = np.ones(case.panel.close.shape)
    same(usual, case.run(acting=found, rates=Rates(ones, ones), currencies=("USD",) * ones.shape[1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulator, "_is_scalar", lambda most, count: False)
        patch.setattr(simulator, "FEW_ORDERS", 0)
        patch.setattr(bar_step, "FEW_ORDERS", 0)
        same(usual, case.run(acting=found))
        same(usual, case.run(GivenOnBar(case.weights), acting=found))


def _same_but_for_parts(a, b):
    """Of shares in whole lots a split leaves parts; a sum with these may end in another last bit."""
    for name in ("ticker", "decided", "filled", "quantity", "price", "notional", "fees"):
        np.testing.assert_array_equal(getattr(a.trades, name), getattr(b.trades, name), err_msg=name)
    np.testing.assert_allclose(a.equity, b.equity, rtol=1e-14)
    np.testing.assert_array_equal(a.cash, b.cash)
    unfilled = [
        sorted((order.bar, order.ticker, order.reason, round(order.quantity, 9)) for order in each.unfilled)
        for each in (a, b)
    ]
    assert repr(unfilled[0]) == repr(unfilled[1])


@given(cases(sessions=(1, 4)), CHOSEN)
@settings(max_examples=200, deadline=None)
def test_shares_and_cash_add_up_at_every_bar(case, chosen):
    result = case.run(acting=acting(chosen, case.panel, case.clock))
    assume_countable(result)
    trades, acted = result.trades, result.actions
    closes = case.panel.close.copy()
    for row in range(1, len(closes)):
        closes[row] = np.where(np.isnan(closes[row]), closes[row - 1], closes[row])
    for row in range(len(closes)):
        held = np.zeros(closes.shape[1])
        np.add.at(held, trades.ticker[trades.filled <= row], trades.quantity[trades.filled <= row])
        np.add.at(held, acted.ticker[acted.row <= row], acted.change[acted.row <= row])
        cash = case.terms.opening_cash + trades.cash[trades.filled <= row].sum() + acted.cash[acted.row <= row].sum()
        assert (held > -1e-8).all()
        assert result.cash[row] == pytest.approx(cash, rel=1e-9, abs=1e-6)
        assert result.equity[row] == pytest.approx(cash + np.nansum(held * closes[row]), rel=1e-9, abs=1e-5)


@given(
    seed=st.integers(0, 2**32), bars=st.integers(2, 80), tickers=st.sampled_from([1, 2, 7, 8, 20, 130]),
    holes=st.sampled_from([0.0, 0.0, 0.02, 0.3]), asking=st.sampled_from([0.02, 0.3, 1.0]),
    commission=st.sampled_from(COMMISSIONS), slippage=st.sampled_from(SLIPPAGES), lots=st.sampled_from([1.0, 1e9]),
    most=st.sampled_from([0.9, 1.7]), chosen=CHOSEN,
)  # fmt: skip
@settings(max_examples=120, deadline=None)
def test_the_compiled_loop_books_the_same(seed, bars, tickers, holes, asking, commission, slippage, lots, most, chosen):
    terms = Terms(1e6, lots, 0.005, costs(commission, slippage))
    plain = job(np.random.default_rng(seed), bars, tickers, holes, asking, terms, most)
    plain = replace(plain, acting=acting(chosen, plain.trade, plain.timeline))
    one, other = simulate(replace(plain, is_fast=True)), simulate(plain)
    assume_countable(one)
    assert_same(one, other)
    for name in vars(one.actions):
        np.testing.assert_array_equal(getattr(one.actions, name), getattr(other.actions, name))


@given(markets(), CHOSEN)
@settings(max_examples=400, deadline=None)
def test_orders_that_wait_as_in_the_reference(market, chosen):
    case = market.case()
    # Ratios that leave prices on the grid: no fee ends on half a micro.
    chosen = [(*act[:3], "2" if act[2] == "split" else "0.5") for act in chosen]
    found = acting(chosen, case.panel, case.clock)
    result = case.run(Calls(market.calls), acting=found)
    trades, ends, cash = market.reference(told(found))
    mine = result.trades
    columns = (mine.decided, mine.filled, mine.ticker, mine.quantity, mine.price)
    assert list(zip(*map(np.ndarray.tolist, columns), strict=True)) == [tuple(map(float, trade)) for trade in trades]
    assert Counter((order.bar, order.ticker, order.quantity, order.reason) for order in result.unfilled) == Counter(
        (row, ticker, float(quantity), reason) for row, ticker, quantity, reason in ends
    )
    assert result.cash.tolist() == pytest.approx([float(row) for row in cash], rel=1e-12, abs=1e-6)


# --- by hand ---------------------------------------------------------------------------------------------------------

TERMS = Terms(10_000.0, 1.0, 0.0, Costs())


def one(prices, calls, *actions, terms=TERMS, strategy=None, **changes):
    """A ticker that opens and closes at these prices; calls by row; actions as (row, kind, value)."""
    closes = np.array(prices, dtype=float)[:, None]
    clock = timeline(len(prices))
    case = Case(panel(closes, closes, clock), clock, np.full(closes.shape, np.nan), terms)
    asked = [[("order", 0, *call) for call in calls.get(row, ())] for row in range(len(prices))]
    found = acting([(row, 0, kind, value) for row, kind, value in actions], case.panel, clock)
    return case.run(strategy or Calls(asked), acting=found, **changes)


def test_a_split_doubles_shares_and_leaves_equity():
    result = one([100, 100, 50, 50], {0: [(10, {})]}, (2, "split", "2"))
    assert result.equity.tolist() == [10_000.0] * 4
    (acted,) = zip(*[getattr(result.actions, name) for name in ("row", "kind", "held", "change", "cash")], strict=True)
    assert acted == (2, "split", 10.0, 10.0, 0.0)


def test_an_order_decided_on_the_eve_is_of_new_shares_and_so_is_its_price():
    result = one([100, 50, 50], {0: [(10, {})]}, (1, "split", "2"))
    trades = result.trades
    assert (trades.quantity.tolist(), trades.price.tolist(), trades.decision_price.tolist()) == ([20.0], [50.0], [50.0])


def test_a_resting_limit_goes_on_at_prices_of_new_shares():
    result = one([100, 100, 50, 44], {0: [(10, {"limit": 90, "force": "GTC"})]}, (2, "split", "2"))
    assert (result.trades.quantity.tolist(), result.trades.price.tolist()) == ([20.0], [44.0])
    result = one([100, 100, 50, 46], {0: [(10, {"limit": 90, "force": "GTC"})]}, (2, "split", "2"))
    assert (len(result.trades), result.reasons()) == (0, {"end of data": 1})


def test_a_reverse_split_ends_an_order_of_which_it_leaves_nothing():
    result = one([100, 1000, 1000], {0: [(9, {})]}, (1, "split", "0.1"))
    assert [tuple(order) for order in result.unfilled] == [(1, 0, 9.0, "nothing left of it after a split")]


def test_a_part_of_a_share_is_kept_and_can_be_sold():
    result = one([90, 90, 60, 60, 60], {0: [(11, {})], 3: [(-16.5, {})]}, (2, "split", "1.5"))
    assert result.actions.change.tolist() == [5.5]
    assert result.trades.quantity.tolist() == [11.0, -16.0]
    result = one(
        [90, 90, 60, 60, 60], {}, (2, "split", "1.5"),
        strategy=GivenOnBar(np.array([[0.099], [np.nan], [np.nan], [0.0], [np.nan]])),
    )  # fmt: skip
    assert result.trades.quantity.tolist() == [11.0, -16.5]
    assert result.equity[-1] == 10_000.0


def test_lots_stay_whole_numbers():
    """9,007,199,254,740,993 nano shares and their like: by way of shares, their number would change."""
    rng = np.random.default_rng(3)
    for shares in rng.integers(1, 10**12, 300) / 1e9:
        weights = np.array([[shares / 100.0], [np.nan], [np.nan], [np.nan]])
        result = one(
            [1, 1, 1, 1], {}, (2, "split", "7"), terms=Terms(100.0, 1e9, 0.0, Costs()), strategy=GivenOnBar(weights)
        )
        held = round(result.trades.quantity[0] * 1e9)
        assert round(result.equity[-1] * 1e9) == pytest.approx(100_000_000_000 + 6 * held, abs=1000)
        assert round(result.actions.change[0] * 1e9) == 6 * held


def test_a_dividend_is_paid_on_what_was_held_when_the_day_opened():
    result = one([100, 100, 100], {0: [(10, {})], 1: [(-10, {})]}, (2, "dividend", "0.5"))
    assert result.cash.tolist() == [10_000.0, 9_000.0, 10_005.0]
    result = one([100, 100, 100], {1: [(10, {})]}, (2, "dividend", "0.5"))
    assert (result.cash[-1], len(result.actions)) == (9_000.0, 0)


def test_a_dividend_of_the_day_of_a_split_is_paid_on_new_shares():
    result = one([100, 100, 50], {0: [(10, {})]}, (2, "dividend", "0.5"), (2, "split", "2"))
    assert result.cash.tolist() == [10_000.0, 9_000.0, 9_010.0]


def test_a_dividend_pays_for_what_fills_at_the_same_open():
    result = one([100, 100, 100], {0: [(99, {})], 1: [(2, {})]}, (2, "dividend", "2"))
    assert (result.trades.quantity.tolist(), result.cash[-1]) == ([99.0, 2.0], 98.0)


def test_without_a_bar_on_its_day_an_action_waits_for_the_next():
    nan = float("nan")
    result = one([100, 100, nan, 50], {0: [(10, {})]}, (2, "split", "2"), (2, "dividend", "1"))
    assert result.actions.row.tolist() == [3, 3]
    assert result.equity.tolist() == [10_000.0, 10_000.0, 10_000.0, 10_020.0]
    assert result.stale_closes == 1


def test_an_action_before_the_first_bar_that_counts_is_none():
    result = one([100, 50, 50, 50], {1: [(10, {})]}, (1, "split", "2"), (1, "dividend", "1"))
    assert (len(result.actions), result.equity[-1]) == (0, 10_000.0)


def test_a_withdrawal_of_the_day_may_take_the_dividend():
    def left(amount):
        flows = (DatedFlow(moment(timeline(4).opens[2]), timeline(4).session[2].item(), amount, "out"),)
        acts = (2, "dividend", "1")
        return one([100] * 4, {0: [(100, {})]}, acts, interruptions=Interruptions(flows)).cash[-1]

    assert (left(-100.0), left(-101.0)) == (0.0, 100.0)


def test_in_another_currency_a_dividend_comes_at_the_rate_of_its_day():
    rates = np.array([[1.0], [1.5], [1.25], [2.0]])
    result = one(
        [100] * 4, {0: [(10, {})]}, (2, "dividend", "0.333333"), rates=Rates(rates, rates), currencies=("EUR",)
    )
    assert result.actions.cash.tolist() == [4.166662]


def test_a_split_whose_ratio_is_none_is_refused():
    with pytest.raises(DataError, match=r"split of T00 on 2005-01-05 has the ratio 1E-9, which is no ratio"):
        one([100] * 4, {}, (2, "split", "1e-9"))


def test_what_is_cut_from_a_panel_takes_its_actions_along():
    clock, closes = timeline(6), np.full((6, 2), 5.0)
    bars = panel(closes, closes, clock)
    whole = acting([(1, 0, "split", "2"), (3, 1, "dividend", "1"), (5, 0, "split", "3")], bars, clock)
    assert [(act.row, act.column) for act in whole.between(2, 5).acts] == [(1, 1)]
    assert whole.between(0, 6) == whole
    old = CorporateAction("T00", date(1999, 1, 4), "split", Decimal(2))
    assert Acting.of(bars, clock.session, [old]) == Acting()


class Rests(Strategy):
    """Orders at prices beside the close that it sees."""

    def on_bar(self, ctx):
        row = len(ctx.history(10_000))
        if row % 2:
            ctx.order("T00", 5, limit=ctx.close[0] * 0.99, time_in_force="GTC")
        else:
            ctx.order_target("T00", 3, stop=ctx.close[0] * 0.97)


@given(st.integers(0, 2**32), CHOSEN)
@settings(max_examples=60, deadline=None)
def test_prices_of_orders_are_on_the_scale_that_the_strategy_sees(seed, chosen):
    rng = np.random.default_rng(seed)
    closes = np.round(50 * np.exp(np.cumsum(rng.normal(0, 0.02, (40, 1)), axis=0)), 2)
    clock = timeline(40)
    traded = panel(np.round(closes * 1.005, 2), closes, clock)
    found = acting([act for act in chosen if act[3] != "40"], traded, clock)
    actions = [act.action for act in found.acts]
    case = Case(traded, clock, None, Terms(1e6, 1.0, 0.0, Costs()))
    plain = case.run(Rests(), acting=found)
    seen = case.run(Rests(), panel=adjust(traded, actions, "all", clock.session), acting=found)
    assert len(plain.trades) > 0
    for name in ("filled", "quantity"):
        np.testing.assert_array_equal(getattr(plain.trades, name), getattr(seen.trades, name))
    np.testing.assert_allclose(plain.trades.price, seen.trades.price, atol=2e-6)


# --- real prices -----------------------------------------------------------------------------------------------------

#: 2005-02-28: AAPL 2 for 1. IBM pays every quarter.
SPAN = date(2005, 1, 3), date(2013, 3, 1)


HELD = {"AAPL": {"split": 1, "dividend": 3}, "IBM": {"dividend": 33}, "MSFT": {"dividend": 33}}


def test_what_is_always_invested_earns_what_the_adjusted_series_does(pool):
    ensure(pool, Sample(), tuple(HELD), "1d", date.min, date.max)
    for ticker, modes in itertools.product(HELD, ["all", "splits", "none"]):
        data = panel_for(pool, Sample(), (ticker,), "1d", "XNYS", modes, *SPAN)
        adjusted = adjust(data.trade, data.actions, "all")
        weights = np.ones(data.panel.close.shape)
        case = Case(data.panel, data.timeline, weights, Terms(1e6, 1e9, 0.0, Costs()))
        result = case.run(trade=data.trade, acting=data.acting)
        assert Counter(result.actions.kind) == HELD[ticker]
        years = (SPAN[1] - SPAN[0]).days / 365.25
        earned, expected = result.equity[-1] / 1e6, adjusted.close[-1, 0] / adjusted.open[1, 0]
        assert abs(earned ** (1 / years) - expected ** (1 / years)) < 0.0005
        # Through the split, too: no day looks like a loss or a gain that nobody had.
        days, expected_days = np.diff(np.log(result.equity[1:])), np.diff(np.log(adjusted.close[1:, 0]))
        assert np.abs(days - expected_days).max() < 0.001
