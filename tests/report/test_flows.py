"""Reports of runs in which money comes and goes: it never looks like performance, and nothing of it is lost."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.model.panel import Panel
from framework.model.result import Flows, MasterResult, PortfolioResult, Trades
from framework.model.timeline import Timeline
from framework.report.assemble import accounts
from framework.report.money_weighted import money_weighted_return
from framework.report.summary import summary

US = "datetime64[us]"
YEAR_SECONDS = 365.25 * 86400


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# --- one portfolio ---------------------------------------------------------------------------------------------------


def grown(result, per_bar, flows):
    """``result`` as if all its money grew by ``per_bar`` at each bar."""
    value, values = result.opening_cash, []
    for t in range(result.bars):
        value = (value + sum(amount for row, amount, *_ in flows if max(row, result.first) == t + result.first)) * (
            1 + per_bar[t]
        )
        values.append(value)
    return replace(result, equity=np.array(values), cash=np.array(values))


@pytest.mark.parametrize("options", [{}, {"per_session": 5, "bars": 300}, {"first": 40}, {"step": "W", "bars": 120}])
def test_flows_change_no_return_of_money_that_grows_alike(build_run, build_result, options):
    flows = [(0, 5e5), (13, 2e5), (57, -3e5), (58, 1e5), (99, 4e5, "transfer"), (119, -2e5, "transfer")]
    moved = build_result(flows=flows, every=0, **options)
    per_bar = np.random.default_rng(5).normal(0.001, 0.01, moved.bars)
    plain = grown(build_result(every=0, **options), per_bar, [])
    curve = accounts(build_run(grown(moved, per_bar, flows))).portfolios[0].curve
    other = accounts(build_run(plain)).portfolios[0].curve
    assert curve.returns == pytest.approx(other.returns, abs=1e-12)
    assert curve.drawdown == pytest.approx(other.drawdown, abs=1e-12)
    assert curve.figures.max_drawdown == pytest.approx(other.figures.max_drawdown)
    assert curve.figures.sharpe == pytest.approx(other.figures.sharpe)
    assert curve.equity[-1] != pytest.approx(other.equity[-1], rel=1e-3)


def test_money_before_the_first_bar_is_there_at_it_and_later_money_is_listed_only(build_run, build_result):
    result = build_result(bars=60, first=10, flows=[(3, 1000.0), (10, 500.0), (60, 7000.0), (60, -2000.0)], every=0)
    account = accounts(build_run(result)).portfolios[0]
    assert account.curve.flows[0] == 1500.0
    assert account.curve.flows[1:].tolist() == [0.0] * 49
    assert account.movements.row.tolist() == [0, 0, 50, 50]
    assert account.flows.amount.tolist() == [1000.0, 500.0]
    section = summary(build_run(result))["portfolios"]["1"]
    assert (section["deposits"], section["withdrawals"], section["net_flows"]) == (1500.0, 0.0, 1500.0)
    assert section["flows_after_end"] == 5000.0
    assert section["total_return"] == section["profit"] == 0.0
    assert section["money_weighted_return"] == 0.0


def test_a_portfolio_that_begins_with_nothing(build_run, build_result):
    result = build_result(cash=0.0, bars=100, flows=[(30, 1e5)], every=7)
    section = summary(build_run(result))["portfolios"]["1"]
    assert section["initial_equity"] == 0.0
    assert section["total_return"] == pytest.approx(result.equity[-1] / 1e5 - 1)
    assert section["profit"] == pytest.approx(result.equity[-1] - 1e5)
    timeline = result.timeline
    years = (timeline.available[-1] - timeline.opens[30]) / np.timedelta64(1, "s") / YEAR_SECONDS
    assert section["money_weighted_return"] == pytest.approx((result.equity[-1] / 1e5) ** (1 / years) - 1)


def test_each_number_adds_up(build_run, build_result):
    flows = [(0, 1e5), (20, -3e4), (40, 2e5, "transfer"), (41, -5e4, "transfer"), (90, 1e4)]
    result = build_result(flows=flows, gaps=0.05)
    account = accounts(build_run(result)).portfolios[0]
    section = summary(build_run(result))["portfolios"]["1"]
    assert (section["deposits"], section["withdrawals"], section["transfers"]) == (1.1e5, 3e4, 1.5e5)
    whole = section["initial_equity"] + section["net_flows"] + section["transfers"] + section["profit"]
    assert whole == pytest.approx(section["final_equity"], abs=1e-5)
    assert sum(account.contributions.values()) == pytest.approx(section["profit"], rel=1e-9)


def test_the_money_weighted_return_takes_each_flow_at_its_time(build_run, build_result):
    result = build_result(bars=500, flows=[(100, 4e5), (300, -2e5), (400, 5e4, "transfer")])
    end, begun = result.timeline.available[-1], result.timeline.opens[0]
    times = np.concatenate(([begun], result.flows.at))
    years = (end - times) / np.timedelta64(1, "s") / YEAR_SECONDS
    wanted = money_weighted_return(np.array([1e6, 4e5, -2e5, 5e4]), years, float(result.equity[-1]))
    account = accounts(build_run(result)).portfolios[0]
    assert account.money_weighted_return == pytest.approx(wanted, abs=1e-12)
    assert account.money_weighted_return != pytest.approx(account.curve.figures.cagr, abs=1e-4)


# --- the total -------------------------------------------------------------------------------------------------------


def bare(name, timeline, equity, opening, flows):
    """A portfolio without trades whose value was ``equity``."""
    nothing = np.zeros(len(timeline))
    prices: Any = [np.ones((len(timeline), 1)) for _ in range(5)]
    panel = Panel((f"T{name}",), timeline.timestamps, *prices)
    none = Trades(*(np.empty(0, np.int64) for _ in range(3)), *(np.empty(0) for _ in range(6)))
    values = np.array(equity)
    return PortfolioResult(
        name, "s", "USD", opening, panel, timeline, 0, values, values, nothing, nothing, none, (), 0, 0.0, 0, 0.0,
        flows=flows,
    )  # fmt: skip


@dataclass
class Kept:
    """A portfolio as a bookkeeper sees it: its value, and what its result will say."""

    opening: float
    value: float
    bars: Any
    equity: list[float]
    flows: list[tuple[int, Any, float, str]]

    def move(self, at, amount, kind):
        self.value += amount
        self.flows.append((len(self.equity), at, amount, kind))


FIRST = np.datetime64("2005-01-03")


def opens(day):
    return (FIRST + np.timedelta64(day, "D")).astype(US) + np.timedelta64(870, "m")


def closes(day):
    return (FIRST + np.timedelta64(day, "D")).astype(US) + np.timedelta64(1260, "m")


def timeline_of(days):
    dates = FIRST + np.array(days).astype("timedelta64[D]")
    opened, closed = np.array([opens(day) for day in days]), np.array([closes(day) for day in days])
    return Timeline(dates.astype(US), opened, closed, dates, dates + np.timedelta64(1, "D"))


def flows_of(rows):
    rows = sorted(rows, key=lambda row: row[1])
    row, at, amount, kind = zip(*rows, strict=True) if rows else [()] * 4
    return Flows(np.array(row, np.int64), np.array(at, US), np.array(amount, float), kind, tuple("r" for _ in rows))


DAYS = 14
small = st.integers(-3000, 3000).map(float)


@st.composite
def worlds(draw):
    """Portfolios with bars on some days, and what happens to each of them and to the master on each day."""
    bars = [
        sorted(draw(st.sets(st.integers(0, DAYS - 1), min_size=1, max_size=DAYS)))
        for _ in range(draw(st.integers(1, 3)))
    ]
    events = st.dictionaries(st.tuples(st.integers(0, DAYS - 1), st.integers(0, len(bars) - 1)), small, max_size=8)
    growth = draw(st.lists(st.floats(-0.2, 0.2), min_size=DAYS, max_size=DAYS))
    return bars, growth, draw(events), draw(events), draw(st.dictionaries(st.integers(0, DAYS - 1), small, max_size=4))


@given(worlds(), st.sampled_from([0.0, 50_000.0]))
@settings(max_examples=300, deadline=None)
def test_the_total_is_what_a_bookkeeper_counts(build_run, world, master_opening):
    """At every close: all values, with all money booked by then, in one place each; transfers make no return."""
    bars, growth, deposits, transfers, at_master = world
    kept = [Kept(1e5, 1e5, days, [], []) for days in bars]
    master, moved = master_opening, []
    wanted, external, cash, since, parts = [], [], [], 0.0, []
    union = sorted(set().union(*bars))
    for day in range(DAYS):
        for number, each in enumerate(kept):
            if amount := deposits.get((day, number)):
                each.move(opens(day), amount, "deposit" if amount > 0 else "withdrawal")
                since += amount
        if amount := at_master.get(day):
            master += amount
            moved.append((-1, opens(day), amount, "deposit" if amount > 0 else "withdrawal"))
            since += amount
        for each in kept:
            if day in each.bars:
                each.value *= 1 + growth[day]
                each.equity.append(each.value)
        if day in union:
            wanted.append(sum(each.value for each in kept) + master)
            parts.append([each.value for each in kept])
            external.append(since)
            cash.append(master)
            since = 0.0
        for number, each in enumerate(kept):
            if amount := transfers.get((day, number)):
                each.move(closes(day), amount, "transfer")
                master -= amount
                moved.append((-1, closes(day), -amount, "transfer"))
    results = [
        bare(str(number), timeline_of(each.bars), each.equity, each.opening, flows_of(each.flows))
        for number, each in enumerate(kept, start=1)
    ]
    made = accounts(build_run(*results, benchmark=False, master=MasterResult(master_opening, flows_of(moved), ())))
    curve = made.total.curve
    assert curve.opening == 1e5 * len(kept) + master_opening
    assert curve.equity == pytest.approx(wanted, abs=1e-5)
    assert curve.flows == pytest.approx(external, abs=1e-6)
    assert made.master is not None
    assert made.master.cash == pytest.approx(cash, abs=1e-6)
    assert np.stack([part.equity for part in made.parts], axis=1) == pytest.approx(np.array(parts), abs=1e-5)
    before = np.concatenate(([curve.opening], wanted[:-1])) + external
    returns = np.array(wanted) / before - 1
    if (np.array(wanted) > 0).all() and (before > 0).all():
        assert curve.returns == pytest.approx(returns, abs=1e-9)
    assert made.total.flows.sum() == pytest.approx(sum(external), abs=1e-5)
    assert made.total.movements.sum("transfer") == pytest.approx(0.0, abs=1e-6)
    assert len(made.total.movements) == len(moved) + sum(len(each.flows) for each in kept)
