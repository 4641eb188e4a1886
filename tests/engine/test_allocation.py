"""Allocation and flows in backtests: an independent reference, every path alike, no cent lost."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework import RiskRule, Strategy
from framework.engine.account import Terms
from framework.engine.agenda import Interruptions
from framework.engine.simulator import simulate
from framework.errors import AllocationError
from framework.model.rates import Rates
from framework.model.timeline import Timeline
from framework.trading.costs import Costs
from framework.trading.risk import NamedRule
from tests.engine import allocation_reference
from tests.engine.cases import Case, Constant, Fraction, Given, GivenOnBar, panel, timeline
from tests.engine.meetings import Fixed, Watching, flow, meeting_of, run_together, terms_of
from tests.engine.test_simulator import decimals


class Passes(RiskRule):
    """Changes nothing, but has every order go through the book."""

    def review(self, proposal):
        pass


@st.composite
def worlds(draw, lots=(1.0,)):
    """Some portfolios on one clock, allocation weights, flows, and when it is allocated."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bars, count = draw(st.integers(2, 25)), draw(st.integers(1, 3))
    clock = timeline(bars)
    made = []
    for _ in range(count):
        tickers = draw(st.sampled_from([1, 2, 9]))
        closes = 30.0 * np.exp(np.cumsum(rng.normal(0, 0.03, (bars, tickers)), axis=0))
        opens = np.round(closes * np.exp(rng.normal(0, 0.02, (bars, tickers))), 6)
        closes = np.round(closes, 6)
        missing = rng.random((bars, tickers)) < draw(st.sampled_from([0.0, 0.0, 0.1]))
        opens[missing] = closes[missing] = np.nan
        weights = np.round(rng.random((bars, tickers)) * 1.2 / tickers, 4)
        weights[rng.random((bars, tickers)) < draw(st.sampled_from([0.0, 0.6]))] = np.nan
        costs = Costs(Fraction(rate=0.0005), Constant(bps=5.0)) if draw(st.booleans()) else Costs()
        cash = draw(st.sampled_from([0.0, 10_000.0, 77_777.0]))
        terms = Terms(cash, draw(st.sampled_from(lots)), draw(st.sampled_from([0.0, 0.02])), costs)
        made.append(Case(panel(opens, closes, clock), clock, weights, terms))
    split = rng.dirichlet(np.ones(count + 1))[:count]
    rows = np.flatnonzero(rng.random(bars) < draw(st.sampled_from([0.2, 1.0]))).tolist()
    master = draw(st.sampled_from([0.0, 50_000.0, 12_345.67]))
    flows = [
        {int(row): float(round(rng.uniform(10, 5_000), 2)) for row in np.flatnonzero(rng.random(bars) < 0.15)}
        for _ in made
    ]
    return made, split, rows, master, flows


def together(world, *, strategy=Given, rules=()):
    cases, weights, rows, master, flows = world
    clock = cases[0].clock
    terms = terms_of(len(cases), buffers=[case.terms.cash_buffer for case in cases])
    meeting = meeting_of(clock, rows, Fixed(weights=tuple(weights.tolist())), terms, master)
    jobs = [case.job(strategy(case.weights), risk=rules) for case in cases]
    dated = [[flow(clock, row, amount) for row, amount in own.items()] for own in flows]
    return run_together(jobs, meeting, dated), meeting.result()


@given(worlds())
@settings(max_examples=120, deadline=None)
def test_same_as_the_reference(world):
    cases, weights, rows, master, flows = world
    results, mine = together(world)
    portfolios = []
    for case, own in zip(cases, flows, strict=True):
        costs = case.terms.costs
        portfolios.append(
            {
                "opens": decimals(case.panel.open),
                "closes": decimals(case.panel.close),
                "weights": decimals(case.weights),
                "cash": Decimal(case.terms.opening_cash),
                "lot": Decimal(1),
                "buffer": Decimal(repr(case.terms.cash_buffer)),
                "rate": Decimal(repr(costs.commission.rate)) if costs.commission else Decimal(0),
                "slippage": Decimal(repr(costs.slippage.bps)) if costs.slippage else Decimal(0),
                "flows": {row: Decimal(repr(amount)) for row, amount in own.items()},
            }
        )
    when = [row in rows for row in range(len(cases[0].clock))]
    split = [Decimal(float(weight)) for weight in weights]  # of many digits: none ends on half a cent
    trades, equity, cash, left = allocation_reference.run(portfolios, Decimal(repr(master)), split, when)
    for result, expected, values, money in zip(results, trades, equity, cash, strict=True):
        got = result.trades
        found = list(zip(got.filled.tolist(), got.ticker.tolist(), got.quantity.tolist(), strict=True))
        assert found == [(bar, ticker, float(quantity)) for bar, ticker, quantity, _ in expected]
        slack = 1e-6 * (1 + len(got))
        assert result.equity.tolist() == pytest.approx([float(value) for value in values], rel=1e-9, abs=slack)
        late = sum(
            amount for row, amount in zip(result.flows.row, result.flows.amount, strict=True) if row == len(when)
        )
        assert result.cash[-1] + late == pytest.approx(float(money), rel=1e-12, abs=slack)
    final = mine.allocations[-1].master_cash if mine.allocations else master
    assert final == pytest.approx(float(left), abs=1e-6)


@given(worlds(lots=(1.0, 1e9)))
@settings(max_examples=120, deadline=None)
def test_every_path_comes_out_the_same(world):
    (first, master), *others = [
        together(world),
        together(world, strategy=GivenOnBar),
        together(world, rules=(NamedRule("passes", Passes()),)),
        together(world, strategy=GivenOnBar, rules=(NamedRule("passes", Passes()),)),
    ]
    for results, other in others:
        for one, two in zip(first, results, strict=True):
            assert one.equity.tolist() == two.equity.tolist()
            assert one.cash.tolist() == two.cash.tolist()
            assert one.trades.quantity.tolist() == two.trades.quantity.tolist()
            assert one.trades.filled.tolist() == two.trades.filled.tolist()
            assert one.flows.amount.tolist() == two.flows.amount.tolist()
        assert [each.transfer.tolist() for each in master.allocations] == [
            each.transfer.tolist() for each in other.allocations
        ]


@given(worlds(lots=(1.0, 1e9)))
@settings(max_examples=100, deadline=None)
def test_no_micro_is_lost(world):
    cases, _, _, master, _ = world
    results, mine = together(world)

    def micros(value):
        return round(Decimal(repr(float(value))) * 1_000_000)

    final = micros(master) + sum(map(micros, mine.flows.amount))
    for case, result in zip(cases, results, strict=True):
        own = micros(case.terms.opening_cash) + sum(map(micros, result.flows.amount))
        own += sum(map(micros, result.trades.cash))
        late = sum(
            micros(a) for a, row in zip(result.flows.amount, result.flows.row, strict=True) if row == result.bars
        )
        assert own == micros(result.cash[-1]) + late
        final += sum(
            micros(a) for a, kind in zip(result.flows.amount, result.flows.kind, strict=True) if kind == "transfer"
        )
    assert final == micros(master)  # what the master gave, the portfolios got


def flat(bars=6, price=10.0, cash=1000.0, weight=np.nan, changes=None, **terms):
    """One ticker at one price; ``changes``: closes (and NaN opens) from a row on, by row."""
    clock = timeline(bars)
    prices, opens = np.full((bars, 1), price), np.full((bars, 1), price)
    for row, close in (changes or {}).items():
        prices[row], opens[row] = close, close if np.isnan(close) else price
    values = {"opening_cash": cash, "lots_per_share": 1.0, "cash_buffer": 0.0, "costs": Costs(), **terms}
    return Case(panel(opens, prices, clock), clock, np.full((bars, 1), weight), Terms(**values))


def test_a_withdrawal_beyond_free_cash_is_refused_and_noted():
    case = flat()
    flows = (flow(case.clock, 2, -400.0, "rent"), flow(case.clock, 3, -700.0, "yacht"))
    result = simulate(replace(case.job(), interruptions=Interruptions(flows)))
    assert result.flows.amount.tolist() == [-400.0]
    assert result.flows.row.tolist() == [2]
    assert result.equity.tolist() == [1000.0, 1000.0, 600.0, 600.0, 600.0, 600.0]
    (note,) = result.notes
    assert note == ("portfolio 1: the withdrawal of 700.00 on 2005-01-06 (yacht) was refused: free cash was 600.00")


def test_open_buys_reserve_their_cash_against_withdrawals():
    case = flat(weight=np.nan)
    case.weights[1] = 0.9  # buys 90 at the open of row 2, where the money is asked for
    flows = (flow(case.clock, 2, -200.0, "rent"),)
    result = simulate(replace(case.job(), interruptions=Interruptions(flows)))
    assert result.flows.amount.tolist() == []
    assert "free cash was 95.50" in result.notes[0]  # 1000 - 90 * 10 * 1.005


def test_money_of_a_flow_is_there_for_the_fills_of_its_session():
    case = flat(cash=0.0)
    case.weights[1] = 1.0
    flows = (flow(case.clock, 1, 500.0), flow(case.clock, 2, 500.0))
    result = simulate(replace(case.job(), interruptions=Interruptions(flows)))
    assert result.trades.quantity.tolist() == [50.0]  # sized on 500 at the close of row 1
    assert result.cash.tolist() == [0.0, 500.0, 500.0, 500.0, 500.0, 500.0]


def test_a_held_ticker_without_a_price_stops_the_allocation_by_name():
    one, two = flat(changes={3: np.nan}), flat()
    one.weights[0] = 0.5
    meeting = meeting_of(one.clock, [3, 4], Fixed(weights=(0.2, 0.8)), terms_of(2))
    run_together([one.job(), two.job()], meeting)
    (made,) = meeting.result().allocations
    assert made.run_id == "test/fixed:2005-01-07:close"
    (note,) = meeting.notes()
    assert note == (
        "the allocation of 2005-01-06 was not made: portfolio 0 holds T00, which has no price of that session"
    )


def test_what_could_not_be_given_limits_sizing_until_the_next_allocation():
    one, two = flat(bars=7, cash=1000.0, weight=1.0), flat(bars=7, cash=0.0)
    meeting = meeting_of(one.clock, [1, 3], Fixed(weights=(0.4, 0.6)), terms_of(2))
    result, _ = run_together([one.job(), two.job()], meeting)
    first, second = meeting.result().allocations
    assert first.transfer.tolist() == [0.0, 0.0]  # all is invested
    assert first.shortfall.tolist() == [600.0, 0.0]
    assert result.trades.quantity.tolist() == [100.0, -60.0]  # sells down to the target of 400
    assert second.transfer.tolist() == [-600.0, 600.0]
    assert second.shortfall.tolist() == [0.0, 0.0]


def test_without_reduce_nothing_is_sold_for_it():
    one, two = flat(bars=7, cash=1000.0, weight=1.0), flat(bars=7, cash=0.0)
    meeting = meeting_of(one.clock, [1, 3], Fixed(weights=(0.4, 0.6)), terms_of(2, reduces=False))
    result, _ = run_together([one.job(), two.job()], meeting)
    assert result.trades.quantity.tolist() == [100.0]


def test_the_allocator_sees_returns_without_the_effect_of_money():
    case = flat(changes=dict.fromkeys(range(2, 6), 11.0))  # +10 % on what is held
    case.weights[0] = 1.0
    allocator = Watching(weights=(0.5,), seen=4)
    meeting = meeting_of(case.clock, [1, 3, 5], allocator, terms_of(1), 500.0)
    run_together([case.job()], meeting, [(flow(case.clock, 3, 777.0),)])
    shapes = [state.returns.shape for state in allocator.states]
    assert shapes == [(2, 1), (4, 1), (4, 1)]
    assert allocator.states[1].returns[:, 0].tolist() == [0.0, 0.0, 0.1, 0.0]
    assert not allocator.states[0].equity.flags.writeable


def test_an_allocator_that_fails_ends_the_run_and_no_thread_hangs():
    class Broken(Fixed):
        def allocate(self, state):
            raise ZeroDivisionError("of course")

    one, two = flat(), flat()
    meeting = meeting_of(one.clock, [2], Broken(weights=(0.5, 0.5)), terms_of(2))
    with pytest.raises(AllocationError, match=r"allocate\(\) failed: ZeroDivisionError: of course"):
        run_together([one.job(), two.job()], meeting)


def test_a_portfolio_that_fails_ends_the_run_and_no_thread_hangs():
    class Fails(Given):
        def weights(self, panel):
            raise ZeroDivisionError("of course")

    one, two = flat(), flat()
    meeting = meeting_of(one.clock, [2], Fixed(weights=(0.5, 0.5)), terms_of(2))
    with pytest.raises(Exception, match="of course"):
        run_together([one.job(Fails(None)), two.job()], meeting)


def test_flows_of_the_master_account():
    one, two = flat(cash=0.0), flat(cash=0.0)
    flows = (flow(one.clock, 0, 300.0, "a"), flow(one.clock, 2, -100.0, "b"), flow(one.clock, 3, -900.0, "c"))
    meeting = meeting_of(one.clock, [0, 4], Fixed(weights=(0.25, 0.25)), terms_of(2), 100.0, flows)
    run_together([one.job(), two.job()], meeting)
    result = meeting.result()
    assert [each.master_cash for each in result.allocations] == [200.0, 150.0]
    assert result.flows.kind == ("deposit", "transfer", "transfer", "withdrawal", "transfer", "transfer")
    assert meeting.notes() == (
        "the withdrawal of 900.00 from the master account on 2005-01-06 (c) was refused: it had 100.00",
    )


# --- portfolios without a bar at the moment ------------------------------------------------------------------------


def without(clock, rows):
    """A clock that lacks these rows."""
    keep = np.setdiff1d(np.arange(len(clock)), rows)
    return Timeline(*(getattr(clock, name)[keep] for name in Timeline.__dataclass_fields__))


def idle(clock, cash=0.0):
    """Trades nothing."""
    prices = np.full((len(clock), 1), 10.0)
    return Case(panel(prices, prices, clock), clock, np.full((len(clock), 1), np.nan), Terms(cash, 1.0, 0.0, Costs()))


def test_what_came_since_its_last_bar_counts_at_the_next_meeting():
    full = timeline(6)
    one, two = idle(without(full, [3, 4])), idle(full)
    meeting = meeting_of(full, [2, 3, 4], Fixed(weights=(0.5, 0.0)), terms_of(2), 1000.0)
    run_together([one.job(), two.job()], meeting)
    assert [each.equity.tolist() for each in meeting.result().allocations] == [[0.0, 0.0], [500.0, 0.0], [500.0, 0.0]]
    assert [each.transfer.tolist() for each in meeting.result().allocations] == [[500.0, 0.0], [0.0, 0.0], [0.0, 0.0]]


def test_meetings_go_on_after_the_last_bar():
    full = timeline(8)
    one, two = idle(without(full, [5, 6, 7])), idle(full)
    meeting = meeting_of(full, [4, 5, 6, 7], Fixed(weights=(0.3, 0.0)), terms_of(2), 1000.0)
    run_together([one.job(), two.job()], meeting)
    assert [each.transfer.tolist()[0] for each in meeting.result().allocations] == [300.0, 0.0, 0.0, 0.0]


def test_a_deposit_on_a_day_without_a_bar_counts_at_its_close():
    full = timeline(6)
    one, two = idle(without(full, [3]), 1000.0), idle(full)
    meeting = meeting_of(full, [3], Fixed(weights=(0.5, 0.5)), terms_of(2))
    run_together([one.job(), two.job()], meeting, [(flow(full, 3, 500.0),), ()])
    (made,) = meeting.result().allocations
    assert (made.equity.tolist(), made.transfer.tolist()) == ([1500.0, 0.0], [-750.0, 750.0])


@pytest.mark.parametrize("cash", [5e9, 1e11])
def test_more_money_than_a_float_can_count(cash):
    clock = timeline(6)
    prices = np.round(3000 + np.random.default_rng(1).normal(0, 30, (6, 1)), 6)
    one = Case(panel(prices, prices, clock), clock, np.full((6, 1), 0.5), Terms(cash, 1.0, 0.0, Costs()))
    meeting = meeting_of(clock, [1, 2, 3, 4], Fixed(weights=(0.7, 0.2)), terms_of(2), cash / 3)
    run_together([one.job(), idle(clock).job()], meeting)
    assert len(meeting.result().allocations) == 4


def test_a_limit_holds_in_every_chunk_of_bars(monkeypatch):
    def trades(strategy):
        clock = timeline(12)
        prices = np.round(10 + np.random.default_rng(3).normal(0, 0.2, (12, 1)).cumsum(axis=0), 2)
        one = Case(panel(prices, prices, clock), clock, np.full((12, 1), 1.0), Terms(1000.0, 1.0, 0.0, Costs()))
        meeting = meeting_of(clock, [2], Fixed(weights=(0.4, 0.6)), terms_of(2))
        return run_together([one.job(strategy(one.weights)), idle(clock).job()], meeting)[0].trades.quantity.tolist()

    monkeypatch.setattr("framework.engine.simulator._CHUNK_CELLS", 4)
    assert trades(Given) == trades(GivenOnBar)


def test_an_allocator_that_wants_too_much_is_named_with_the_session():
    class TooMuch(Fixed):
        def allocate(self, state):
            return np.full(1, 2.0 * state.total)

    clock = timeline(4)
    meeting = meeting_of(clock, [2], TooMuch(weights=(0.0,)), terms_of(1))
    with pytest.raises(AllocationError, match=r"^allocator test/fixed at the close of 2005-01-05: allocate\(\) wants"):
        run_together([idle(clock, 100.0).job()], meeting)


class Resting(Strategy):
    """One share of the first ticker at a limit that no bar reaches."""

    def on_bar(self, ctx):
        if not ctx.state:
            ctx.state["asked"] = True
            ctx.order(ctx.tickers[0], 1, limit=3000.0, time_in_force="GTC")


@pytest.mark.parametrize(("rate", "is_refused"), [(0.0067, False), (1.25, True)])
def test_a_buy_in_another_currency_speaks_for_the_portfolios_own(rate, is_refused):
    clock, prices = timeline(6), np.full((6, 1), 3100.0)
    case = Case(panel(prices, prices, clock), clock, None, Terms(3800.0, 1.0, 0.0, Costs()))
    rates = Rates(np.full((6, 1), rate), np.full((6, 1), rate))
    flows = Interruptions((flow(clock, 3, -700.0),))
    result = simulate(replace(case.job(Resting()), rates=rates, currencies=("JPY",), interruptions=flows))
    assert bool(result.notes) is is_refused
    assert len(result.flows) == (0 if is_refused else 1)
