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
from framework.report.write import write_run

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


def test_a_bar_that_is_known_late_is_without_the_money_of_the_next_session(build_run, build_result):
    """Bars are known 5 minutes after their end; a deposit comes meanwhile, and is in the next bar's value first."""
    result = build_result(bars=60, flows=[(40, 1e5)], every=0)
    early = result.timeline.available[39:40] - np.timedelta64(1, "m")
    moved = replace(result, flows=replace(result.flows, at=early))
    total = accounts(build_run(moved, build_result(bars=60, portfolio_id="2", every=0))).total
    assert np.flatnonzero(total.curve.flows).tolist() == [40]
    assert total.curve.returns == pytest.approx(np.zeros(60), abs=1e-15)
    assert total.curve.equity.tolist() == [2e6] * 40 + [2.1e6] * 20


# --- benchmarks ------------------------------------------------------------------------------------------------------


def test_without_flows_the_benchmark_is_as_it_was_simulated(build_run, build_result):
    run = build_run(build_result())
    account = accounts(run).total
    assert account.benchmark_equity is not None
    assert account.benchmark_equity.tolist() == run.benchmarks["1"].equity.tolist()


@pytest.mark.parametrize("per_session", [1, 6])
def test_the_benchmark_gets_the_same_money_at_the_same_time(build_run, build_result, per_session):
    """Units of the benchmark are bought and sold by hand, at the value before each flow."""
    flows = [(0, 5e4), (40, 3e5), (41, -1e5), (90, -2e5, "transfer"), (120, 1e4)]
    result = build_result(bars=120, flows=flows, per_session=per_session)
    run = build_run(result)
    account = accounts(run).portfolios[0]
    price = np.concatenate(([1e6], run.benchmarks["1"].equity))
    units = 1.0 + sum(
        np.where(np.arange(120) >= row, amount / price[row], 0.0) for row, amount, *_ in flows if row < 120
    )
    assert account.benchmark_equity == pytest.approx(units * price[1:], rel=1e-9)
    section = summary(run)["portfolios"]["1"]["benchmark"]
    assert section["final_equity"] == pytest.approx(units[-1] * price[-1], rel=1e-9)
    still = summary(build_run(build_result(bars=120, per_session=per_session)))["portfolios"]["1"]["benchmark"]
    same = [name for name in still if name not in ("final_equity", "money_weighted_return")]
    assert {name: section[name] for name in same} == {name: still[name] for name in same}
    assert section["money_weighted_return"] == account.benchmark_money_weighted_return
    assert section["money_weighted_return"] != pytest.approx(still["money_weighted_return"], abs=1e-5)


def test_all_the_money_of_the_total_goes_into_its_benchmark(build_run, build_result, build_master):
    results = [build_result(flows=[(10, 1e5, "transfer")]), build_result(portfolio_id="2", seed=4, flows=[(50, 2e5)])]
    made = accounts(build_run(*results, master=build_master(*results, opening=5e5))).total
    assert made.benchmark is not None
    assert made.benchmark_equity is not None
    growth = made.benchmark.equity / 2e6
    assert made.benchmark_equity[:50] == pytest.approx(2.5e6 * growth[:50])
    assert made.benchmark_equity[50:] == pytest.approx((2.5e6 + 2e5 / growth[49]) * growth[50:])


# --- what is left of it ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def allocated(build_run, build_result, build_master):
    """Two portfolios with deposits and transfers, one of them after the last bar, and a master account with its own."""
    first = [(0, 1e4), (30, 5e4), (60, 2e5, "transfer"), (100, -3e4), (200, -1e5, "transfer"), (300, 7e3, "transfer")]
    second = [(60, -1e5, "transfer"), (200, 2.5e5, "transfer"), (300, 1e3, "transfer"), (300, 4e3)]
    results = [build_result(flows=first), build_result(("GOOG", "AAPL"), portfolio_id="two", seed=4, flows=second)]
    moved = [("2005-06-01T14:30", 1e5), ("2005-09-01T14:30", -2e4), ("2099-01-01", 99.0)]
    return build_run(*results, master=build_master(*results, opening=4e5, flows=moved))


@pytest.fixture(scope="module")
def folder(allocated, tmp_path_factory):
    out = tmp_path_factory.mktemp("allocated")
    write_run(allocated, out)
    return out


def test_the_summary_adds_up_with_a_master_account(allocated):
    numbers = summary(allocated)
    total, master, sections = numbers["total"], numbers["master"], numbers["portfolios"].values()
    for section in (total, *sections):
        whole = section["initial_equity"] + section["net_flows"] + section["transfers"] + section["profit"]
        assert whole == pytest.approx(section["final_equity"], abs=1e-5)
        assert section["net_flows"] == section["deposits"] - section["withdrawals"]
    assert master["opening_cash"] + master["net_flows"] + master["transfers"] == pytest.approx(master["final_cash"])
    assert master == {
        "opening_cash": 4e5, "deposits": 1e5, "withdrawals": 2e4, "net_flows": 8e4, "transfers": -2.5e5,
        "final_cash": 2.3e5, "flows_after_end": 99.0 - 8e3,
    }  # fmt: skip
    for name in ("deposits", "withdrawals", "net_flows"):
        assert total[name] == pytest.approx(master[name] + sum(section[name] for section in sections))
    assert total["transfers"] == 0.0 == master["transfers"] + sum(section["transfers"] for section in sections)
    assert total["final_equity"] == pytest.approx(master["final_cash"] + sum(each["final_equity"] for each in sections))
    assert total["profit"] == pytest.approx(sum(section["profit"] for section in sections))
    assert total["flows_after_end"] == 4099.0
    assert [section["flows_after_end"] for section in sections] == [7e3, 5e3]


def test_the_summary_counts_allocations(allocated):
    numbers = summary(allocated)
    assert numbers["total"]["allocations"] == {"count": 3, "moved": 6.58e5, "shortfall": 30.0}
    assert numbers["portfolios"]["1"]["allocations"] == {"count": 3, "moved": 3.07e5, "shortfall": 15.0}


def test_every_return_can_be_recomputed_from_equity_csv(allocated, folder):
    made = accounts(allocated)
    for place, account in (("", made.total), ("1", made.portfolios[0]), ("two", made.portfolios[1])):
        rows = read(folder / place / "equity.csv")
        assert list(rows[0])[-1] == "flow"
        equity, flow = (np.array([float(row[name]) for row in rows]) for name in ("equity", "flow"))
        before = np.concatenate(([account.curve.opening], equity[:-1]))
        returns = equity / (before + flow) - 1
        index = np.cumprod(1 + returns)
        assert index[-1] - 1 == pytest.approx(account.curve.figures.total_return, abs=1e-9)
        peak = np.maximum.accumulate(np.maximum(index, 1.0))
        assert [float(row["drawdown"]) for row in rows] == pytest.approx((index / peak - 1).tolist(), abs=1e-8)
        months = [float(row["return"]) for row in read(folder / place / "returns_monthly.csv")]
        assert np.prod(1 + np.array(months)) == pytest.approx(index[-1], abs=1e-7)


def test_flows_csv_lists_every_movement_on_both_sides(allocated, folder):
    total = read(folder / "flows.csv")
    assert list(total[0]) == ["timestamp", "portfolio_id", "kind", "amount", "reference"]
    assert len(total) == len(allocated.master.flows) + sum(len(result.flows) for result in allocated.portfolios)
    assert sum(float(row["amount"]) for row in total if row["kind"] == "transfer") == 0.0
    assert [row["timestamp"] for row in total] == sorted(row["timestamp"] for row in total)
    assert {row["portfolio_id"] for row in total} == {"0", "1", "two"}
    for name in ("1", "two"):
        assert read(folder / name / "flows.csv") == [row for row in total if row["portfolio_id"] == name]
    first = read(folder / "1" / "flows.csv")[0]
    assert first == {
        "timestamp": "2005-01-03T14:30:00Z", "portfolio_id": "1", "kind": "deposit", "amount": "10000.000000",
        "reference": "r0",
    }  # fmt: skip


def test_the_flow_column_adds_up_to_flows_csv(allocated, folder):
    """Up to the last value: of the total what came from outside, of a portfolio the transfers, too."""
    end = str(allocated.portfolios[0].timeline.available[-1].astype("datetime64[s]"))
    for place in ("", "1", "two"):
        column = sum(float(row["flow"]) for row in read(folder / place / "equity.csv"))
        listed = [row for row in read(folder / place / "flows.csv") if row["timestamp"].rstrip("Z") < end]
        assert column == pytest.approx(sum(float(row["amount"]) for row in listed))


def test_allocations_csv_has_a_row_for_each_portfolio(allocated, folder):
    rows = read(folder / "allocations.csv")
    assert list(rows[0]) == ["run_id", "timestamp", "portfolio_id", "equity", "target", "transfer", "shortfall"]
    assert [row["portfolio_id"] for row in rows] == ["1", "two"] * 3
    assert [float(row["transfer"]) for row in rows] == [2e5, -1e5, -1e5, 2.5e5, 7e3, 1e3]
    assert len({row["run_id"] for row in rows}) == 3
    equity = read(folder / "1" / "equity.csv")
    assert rows[0]["equity"] == equity[59]["equity"]
    assert rows[0]["timestamp"][:10] == equity[59]["timestamp"][:10]


def test_without_flows_the_files_are_headers(tmp_path, build_run):
    write_run(build_run(), tmp_path)
    for name in ("flows.csv", "1/flows.csv", "allocations.csv"):
        assert len((tmp_path / name).read_text().splitlines()) == 1
    assert {row["flow"] for row in read(tmp_path / "equity.csv")} == {"0.000000"}


def test_a_portfolio_may_be_called_total(build_run, build_result, build_master):
    result = build_result(flows=[(10, 1e5, "transfer")], portfolio_id="total")
    numbers = summary(build_run(result, master=build_master(result, opening=1e5)))
    assert numbers["portfolios"]["total"]["transfers"] == 1e5
    assert numbers["total"]["transfers"] == 0.0
    assert numbers["total"]["initial_equity"] == 1.1e6


def test_an_allocator_that_never_moved_anything(tmp_path, build_run, build_result):
    run = build_run(build_result(), master=MasterResult(0.0, Flows.none(), ()))
    write_run(run, tmp_path)
    numbers = summary(run)
    assert numbers["total"]["allocations"] == {"count": 0, "moved": 0.0, "shortfall": 0.0}
    assert numbers["master"]["final_cash"] == 0.0
    assert (tmp_path / "equity.csv").read_bytes() == (tmp_path / "1" / "equity.csv").read_bytes()
