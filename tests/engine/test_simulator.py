"""The simulator against an independent one, against its own paths, and against the accounting identity."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings

from framework import Strategy
from framework.engine import account, bar_step, simulator
from framework.engine.account import Terms
from framework.errors import StrategyError
from framework.trading.costs import Costs
from tests.engine.cases import Case, Constant, Fraction, Given, GivenOnBar, Impact, cases, panel, timeline
from tests.engine.reference import run as reference


def decimals(rows):
    return [[None if np.isnan(value) else Decimal(repr(float(value))) for value in row] for row in rows]


def check_identity(case, result, rates=1.0):
    """equity = opening cash + Σ signed trade cash + Σ position × last close (× rate), at every bar."""
    closes = np.nan_to_num(_last(case.panel.close)) * rates
    trades = result.trades
    for bar in range(len(case.panel)):
        done = trades.filled <= bar
        held = np.zeros(len(case.panel.tickers))
        np.add.at(held, trades.ticker[done], trades.quantity[done])
        cash = case.terms.opening_cash + trades.cash[done].sum()
        assert result.cash[bar] == pytest.approx(cash, rel=1e-9, abs=1e-6)
        assert result.equity[bar] == pytest.approx(cash + held @ closes[bar], rel=1e-9, abs=1e-6)
        assert (held > -1e-9).all()
        assert result.cash[bar] >= 0.0


def _last(close):
    out = close.copy()
    for bar in range(1, len(out)):
        out[bar] = np.where(np.isnan(out[bar]), out[bar - 1], out[bar])
    return out


def same(a, b):
    for name in ("ticker", "decided", "filled", "quantity", "price", "notional", "fees"):
        np.testing.assert_array_equal(getattr(a.trades, name), getattr(b.trades, name), err_msg=name)
    np.testing.assert_array_equal(a.equity, b.equity)
    np.testing.assert_array_equal(a.cash, b.cash)
    # As text: NaN (never sized) equals itself there.
    assert sorted(map(repr, a.unfilled)) == sorted(map(repr, b.unfilled))
    assert (a.trimmed_fills, a.trimmed_notional) == (b.trimmed_fills, b.trimmed_notional)


@given(cases())
@settings(max_examples=300, deadline=None)
def test_same_trades_and_equity_as_the_reference(case):
    result = case.run()
    costs = case.terms.costs
    trades, equity = reference(
        decimals(case.panel.open),
        decimals(case.panel.close),
        decimals(case.weights),
        Decimal(case.terms.opening_cash),
        Decimal(1) if case.terms.lots_per_share == 1.0 else Decimal("1e-9"),
        Decimal(repr(case.terms.cash_buffer)),
        Decimal(repr(costs.commission.rate)) if costs.commission else Decimal(0),
        Decimal(repr(costs.slippage.bps)) if costs.slippage else Decimal(0),
    )
    mine = result.trades
    if case.terms.lots_per_share == 1.0:
        assert [(int(b), int(t)) for b, t in zip(mine.filled, mine.ticker, strict=True)] == [t[:2] for t in trades]
        assert mine.quantity.tolist() == [float(trade[2]) for trade in trades]
        assert mine.price.tolist() == [float(trade[3]) for trade in trades]
    else:
        # Floats against 60 digits: micros may fall on another buy, and the smallest orders may or may not exist.
        mine_by = _by_bar_and_ticker(zip(mine.filled, mine.ticker, mine.quantity, strict=True))
        for key, quantity in _by_bar_and_ticker(trade[:3] for trade in trades).items():
            assert mine_by.pop(key, 0.0) == pytest.approx(quantity, rel=1e-6, abs=1e-4)
        assert all(abs(quantity) < 1e-4 for quantity in mine_by.values())
    # A fee that ends exactly on half a micro may round either way in floats: a micro per fill.
    slack = 1e-6 * (1 + len(mine))
    assert result.equity.tolist() == pytest.approx([float(value) for value in equity], rel=1e-9, abs=slack)


def _by_bar_and_ticker(rows):
    return {(int(bar), int(ticker)): float(quantity) for bar, ticker, quantity in rows}


@given(cases(sessions=(1, 4), negative=True))
@settings(max_examples=200, deadline=None)
def test_identity_at_every_bar(case):
    check_identity(case, case.run())


@given(cases(sessions=(1, 4), negative=True))
@settings(max_examples=200, deadline=None)
def test_both_styles_decide_and_book_the_same(case):
    same(case.run(), case.run(GivenOnBar(case.weights)))


@given(cases(sessions=(1, 4), negative=True))
@settings(max_examples=100, deadline=None)
def test_both_styles_are_the_same_on_arrays_alone(case):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulator, "_is_scalar", lambda most, count: False)
        patch.setattr(simulator, "FEW_ORDERS", 0)
        patch.setattr(bar_step, "FEW_ORDERS", 0)
        same(case.run(), case.run(GivenOnBar(case.weights)))


@given(cases(sessions=(1, 4), negative=True))
@settings(max_examples=100, deadline=None)
def test_nothing_depends_on_how_many_rows_are_worked_on_at_once(case):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bar_step, "_PREPARED_CELLS", 1)
        patch.setattr(account, "_VALUE_CELLS", 2 * len(case.panel.tickers))
        in_pieces = case.run(GivenOnBar(case.weights))
    same(case.run(GivenOnBar(case.weights)), in_pieces)


@given(cases(sessions=(1, 4), max_tickers=6, negative=True))
@settings(max_examples=200, deadline=None)
def test_scalar_path_equals_array_path(case):
    with pytest.MonkeyPatch.context() as patch:
        arrays = _count(patch, "rebalance_few")
        fast = case.run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulator, "_is_scalar", lambda most, count: False)
        slow = case.run()
    same(fast, slow)
    clean = not np.isnan(case.panel.close).any() and np.nanmin(case.weights, initial=0.0) >= 0.0
    assert arrays or not clean or len(case.panel) < 2 or np.isnan(case.weights[:-1]).all() or _asks_last(case)


def _count(patch, name):
    calls = []
    original = getattr(simulator, name)
    patch.setattr(simulator, name, lambda *args: (calls.append(1), original(*args)))
    return calls


def _asks_last(case):
    return not np.isnan(case.weights[-1]).all()


@given(cases(sessions=(1, 4), negative=True))
@settings(max_examples=150, deadline=None)
def test_order_by_order_equals_arrays(case):
    fast = case.run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulator, "_next_opens", lambda opens, rows, columns: np.full(len(rows), np.nan))
        slow = case.run()
    same(fast, slow)


@given(cases(costs=False))
@settings(max_examples=50, deadline=None)
def test_impact_is_priced_by_the_order_itself(case):
    terms = Terms(case.terms.opening_cash, 1.0, 0.0, Costs(None, Impact(per_share=1e-4)))
    case = Case(case.panel, case.clock, case.weights, terms)
    result = case.run()
    check_identity(case, result)
    trades = result.trades
    # Trimming comes after pricing: a trimmed buy was priced as wanted, so it is at least as dear as its own size asks.
    worse = np.sign(trades.quantity) * (trades.price / trades.arrival_price - 1) * 1e4
    assert (worse >= 1e-4 * np.abs(trades.quantity) - 1e-2 / trades.arrival_price - 1e-6).all()


def market(opens, closes, per_session=1):
    clock = timeline(len(opens), per_session)
    return panel(np.array(opens, float), np.array(closes, float), clock), clock


def one(opens, closes, weights, cash=1000.0, lots=1.0, buffer=0.0, costs=None, per_session=1):
    bars, clock = market(opens, closes, per_session)
    return Case(bars, clock, np.array(weights, float), Terms(cash, lots, buffer, costs or Costs()))


NAN = float("nan")


def test_a_target_is_sized_on_the_close_and_filled_at_the_next_open():
    result = one([[9], [11], [12]], [[10], [11], [12]], [[0.5], [NAN], [NAN]]).run()
    assert result.trades.quantity.tolist() == [50.0]
    assert result.trades.price.tolist() == [11.0]
    assert result.trades.arrival_price.tolist() == [11.0]
    assert result.trades.decision_price.tolist() == [10.0]
    assert result.equity.tolist() == [1000.0, 1000.0, 1050.0]


def test_the_cash_buffer_is_left_aside():
    result = one([[10], [10]], [[10], [10]], [[1.0], [NAN]], buffer=0.005).run()
    assert result.trades.quantity.tolist() == [99.0]


def test_buys_beyond_cash_are_trimmed_and_counted():
    result = one([[10, 10], [20, 10]], [[10, 10], [20, 10]], [[0.6, 0.4], [NAN, NAN]]).run()
    # 60 × 20 + 40 × 10 = 1600 against 1000: scaled by 0.625 to 37 and 25, 990 in all.
    assert result.trades.quantity.tolist() == [37.0, 25.0]
    assert result.trimmed_fills == 2
    assert result.trimmed_notional == 23 * 20 + 15 * 10
    assert result.reasons() == {"no cash": 2}


def test_trimming_takes_single_shares_from_the_largest_buy():
    costs = Costs(Fraction(rate=0.0, floor=30.0))
    result = one([[10, 10], [10, 10]], [[10, 10], [10, 10]], [[0.5, 0.5], [NAN, NAN]], costs=costs).run()
    # Scaled by 1000 / 1060 to 47 and 47: 940 + 60 fits exactly.
    assert result.trades.quantity.tolist() == [47.0, 47.0]
    assert result.cash[-1] == 0.0


def test_sells_pay_for_buys_of_the_same_open():
    case = one([[10, 10]] * 4, [[10, 10]] * 4, [[1, 0], [0, 1], [NAN, NAN], [NAN, NAN]])
    result = case.run()
    assert result.trades.quantity.tolist() == [100.0, -100.0, 100.0]
    assert result.trades.ticker.tolist() == [0, 0, 1]


def test_a_negative_target_ends_as_short_not_allowed_and_leaves_the_position():
    result = one([[10]] * 4, [[10]] * 4, [[0.5], [-0.5], [NAN], [NAN]]).run()
    assert result.trades.quantity.tolist() == [50.0]
    assert result.reasons() == {"short not allowed": 1}


def test_a_daily_order_lapses_where_the_next_session_has_no_bar():
    result = one([[10], [NAN], [12], [12]], [[10], [NAN], [12], [12]], [[0.5], [NAN], [NAN], [NAN]]).run()
    assert len(result.trades) == 0
    assert result.reasons() == {"no bar": 1}


def test_an_intraday_order_waits_for_its_ticker_within_the_session():
    opens = [[10], [NAN], [12], [12]]
    result = one(opens, opens, [[0.5], [NAN], [NAN], [NAN]], per_session=4).run()
    assert result.trades.filled.tolist() == [2]
    assert result.trades.decided.tolist() == [0]


def test_a_new_target_counts_what_is_on_its_way():
    opens = [[10, 1], [NAN, 1], [NAN, 1], [10, 1], [10, 1]]
    grow = one(opens, opens, [[0.5, NAN], [0.8, NAN], [NAN, NAN], [NAN, NAN], [NAN, NAN]], per_session=5).run()
    assert grow.trades.quantity.tolist() == [50.0, 30.0]
    shrink = one(opens, opens, [[0.5, NAN], [0.2, NAN], [NAN, NAN], [NAN, NAN], [NAN, NAN]], per_session=5).run()
    assert shrink.trades.quantity.tolist() == [20.0]
    assert shrink.reasons() == {"replaced": 1}


def test_an_order_on_the_last_bar_ends_as_end_of_data():
    result = one([[10], [10]], [[10], [10]], [[NAN], [1.0]]).run()
    assert result.reasons() == {"end of data": 1}


def test_a_held_ticker_without_a_bar_is_valued_at_its_last_close_and_flagged():
    opens = [[10], [10], [NAN], [NAN], [9]]
    result = one(opens, opens, [[1.0], [NAN], [NAN], [NAN], [NAN]]).run()
    assert result.equity.tolist() == [1000, 1000, 1000, 1000, 900]
    assert result.stale_closes == 2


def test_fractional_quantities_go_down_to_a_billionth():
    result = one([[3], [3]], [[3], [3]], [[1.0], [NAN]], lots=1e9).run()
    assert result.trades.quantity.tolist() == [333.333333333]
    assert result.trades.notional.tolist() == [1000.0]


def test_costs_are_taken_at_the_fill():
    costs = Costs(Fraction(rate=0.001), Constant(bps=10.0))
    result = one([[10], [10], [10]], [[10], [10], [10]], [[0.5], [0.0], [NAN]], costs=costs).run()
    assert result.trades.price.tolist() == [10.01, 9.99]
    assert result.trades.fees.tolist() == [0.5005, 0.4995]
    assert result.cash[-1] == pytest.approx(1000 - 0.5 * 2 - 1.0)


class Orders(Strategy):
    def __init__(self, *calls):
        self._calls = dict(calls)
        self._bar = -1
        self.seen = []

    def on_bar(self, ctx):
        self._bar += 1
        self.seen.append((ctx.cash, ctx.equity, ctx.positions.tolist(), [order.reason for order in ctx.lapsed]))
        call = self._calls.get(self._bar)
        if call:
            call(ctx)


def test_orders_by_quantity_and_target_quantity():
    strategy = Orders(
        (0, lambda ctx: ctx.order("T00", 10)),
        (1, lambda ctx: ctx.order_target("T00", 4)),
        (2, lambda ctx: ctx.order("T00", -5)),
        (3, lambda ctx: ctx.exit("T00")),
    )
    result = one([[10]] * 6, [[10]] * 6, [[NAN]] * 6).run(strategy)
    assert result.trades.quantity.tolist() == [10.0, -6.0, -4.0]
    assert result.reasons() == {"short not allowed": 1}
    assert strategy.seen[1] == (900.0, 1000.0, [10.0], [])
    assert strategy.seen[3][3] == ["short not allowed"]


def test_a_sell_does_not_go_short_on_an_order_still_on_its_way():
    strategy = Orders((0, lambda ctx: ctx.order("T00", 10)), (1, lambda ctx: ctx.order("T00", -10)))
    opens = [[10], [NAN], [10], [10]]
    result = one(opens, opens, [[NAN]] * 4, per_session=4).run(strategy)
    # Both wait for the third bar, where sells go first: this one finds nothing to sell.
    assert result.trades.quantity.tolist() == [10.0]
    assert result.reasons() == {"short not allowed": 1}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda ctx: ctx.target_weights([0.1, 0.2]), "expected \\(1,\\)"),
        (lambda ctx: ctx.target_weights({"NOPE": 1.0}), "unknown ticker 'NOPE'; this portfolio has T00"),
        (lambda ctx: ctx.order("T00", float("nan")), "finite"),
        (lambda ctx: ctx.target_weights([float("inf")]), "was given inf; .* at most 1000"),
        (lambda ctx: ctx.history(0), "1 bar or more"),
        (lambda ctx: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_mistake_in_on_bar_names_portfolio_strategy_and_bar(call, said):
    case = one([[10]] * 3, [[10]] * 3, [[NAN]] * 3)
    with pytest.raises(StrategyError, match=f"portfolio 1: strategy 'given' failed at bar 2005-01-04T00:00: .*{said}"):
        case.run(Orders((1, call)))


def test_wrong_weights_are_refused():
    case = one([[10]] * 3, [[10]] * 3, [[NAN]] * 3)
    with pytest.raises(StrategyError, match=r"shape \(2, 1\), expected \(3, 1\)"):
        case.run(Given(np.zeros((2, 1))))
    with pytest.raises(StrategyError, match="returned weight inf for T00 at 2005-01-04"):
        case.run(Given(np.array([[NAN], [np.inf], [NAN]])))


def test_decisions_begin_at_start_and_money_is_whole_from_there():
    result = one([[10]] * 4, [[10]] * 4, [[1.0], [0.5], [NAN], [NAN]]).run(first=1)
    assert result.bars == 3
    assert result.trades.decided.tolist() == [1]
    assert result.trades.quantity.tolist() == [50.0]


def test_nothing_handed_to_a_strategy_can_be_written():
    def write(ctx):
        ctx.close[0] = 1.0

    with pytest.raises(StrategyError, match="read-only"):
        one([[10]] * 2, [[10]] * 2, [[NAN]] * 2).run(Orders((0, write)))


def test_an_empty_run_has_no_bars_and_keeps_its_cash():
    result = one([[10]], [[10]], [[1.0]]).run(first=1)
    assert result.bars == 0
    assert len(result.trades) == 0
