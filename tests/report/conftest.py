"""Runs for the reports to be made from: a small simulator of their own, in plain NumPy."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from framework.model.panel import Panel, forward_fill
from framework.model.result import (
    AllocationResult,
    Flows,
    MasterResult,
    PortfolioResult,
    RunResult,
    Trades,
    Unfilled,
)
from framework.model.timeline import Timeline, moment
from tests.report.browser import Browser, find_chromium

US = "datetime64[us]"


def make_sessions(count, start="2005-01-03", step="weekdays"):
    """Exchange dates from ``start``: of weekdays, or one each ``D`` (day), ``W`` (week) or ``M`` (month)."""
    steps = np.arange(count)
    if step == "weekdays":
        return np.busday_offset(start, steps, roll="forward")
    return (np.datetime64(start, step) + steps).astype("datetime64[D]")


def make_timeline(bars, per_session=1, start="2005-01-03", step="weekdays"):
    """Sessions from ``start``; intraday bars are minutes from 14:30 UTC."""
    sessions = make_sessions(bars // per_session + 2, start, step)
    number = np.arange(bars) // per_session
    session = sessions[number]
    minute = (np.arange(bars) % per_session).astype("timedelta64[m]")
    opens = session.astype(US) + np.timedelta64(870, "m") + minute
    labels = session.astype(US) if per_session == 1 else opens
    end = session.astype(US) + np.timedelta64(21, "h") if per_session == 1 else opens + np.timedelta64(1, "m")
    return Timeline(labels, opens, end, session, sessions[number + 1])


def make_panel(timeline, tickers, seed=1, gaps=0.0):
    """Random walks of opens and closes; ``gaps`` is the share of bars that are missing."""
    rng = np.random.default_rng(seed)
    shape = (len(timeline), len(tickers))
    close = 50 * np.exp(np.cumsum(rng.normal(3e-4, 0.012, shape), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.003, shape))
    hole = rng.random(shape) < gaps
    hole[0] = False
    whole = {"open": open_, "high": open_ * 1.01, "low": close * 0.98, "close": close, "volume": np.full(shape, 1e6)}
    holed: dict[str, Any] = {name: np.where(hole, np.nan, field) for name, field in whole.items()}
    return Panel(tickers=tuple(tickers), timestamps=timeline.timestamps, **holed)


def make_result(
    tickers=("AAPL", "MSFT", "IBM"),
    *,
    portfolio_id="1",
    bars=300,
    first=0,
    per_session=1,
    every=20,
    seed=1,
    gaps=0.0,
    fee=0.0005,
    cash=1_000_000.0,
    lot=1.0,
    start="2005-01-03",
    step="weekdays",
    strategy="sma_cross",
    flows=(),
):
    """Every ``every`` bars new random weights are decided on a close; the next bar, if any, fills them.

    ``flows`` are (row, amount) or (row, amount, kind): money that is there before the fills of that row.
    """
    timeline = make_timeline(bars, per_session, start, step)
    panel = make_panel(timeline, tickers, seed, gaps)
    rng = np.random.default_rng(seed + 1)
    last = forward_fill(panel.close)
    held, money, wanted = np.zeros(len(tickers)), cash, None
    rows, unfilled, curve = [], [], []
    moved = make_flows(flows, timeline)
    for t in range(first, bars):
        money += moved.amount[np.clip(moved.row, first, None) == t].sum()
        if wanted is not None:
            change = wanted - held
            for column in np.argsort(np.sign(change), kind="stable"):
                if change[column] == 0:
                    continue
                if np.isnan(panel.open[t, column]):
                    unfilled.append(Unfilled(t, int(column), float(change[column]), "no bar"))
                    continue
                side = np.sign(change[column])
                arrival = panel.open[t, column]
                price = np.rint(arrival * (1 + side * 1e-4) * 1e6) / 1e6
                notional = np.rint(abs(change[column]) * price * 1e6) / 1e6
                fees = np.rint(notional * fee * 1e6) / 1e6
                money = np.rint((money - side * notional - fees) * 1e6) / 1e6
                held[column] += change[column]
                rows.append((column, t - 1, t, change[column], arrival, last[t - 1, column], price, notional, fees))
            wanted = None
        values = np.where(held != 0, held * last[t], 0.0)
        curve.append((money + values.sum(), money, np.abs(values).sum(), values.sum()))
        if every and (t - first) % every == 0 and t + 1 < bars:
            weights = rng.dirichlet(np.ones(len(tickers))) * rng.uniform(0.3, 0.9)
            wanted = np.trunc(weights * curve[-1][0] / last[t] / lot + 1e-9) * lot
    series: dict[str, Any] = {
        name: np.array(column)
        for name, column in zip(("equity", "cash", "gross", "net"), zip(*curve, strict=True), strict=True)
    }
    return PortfolioResult(
        portfolio_id=portfolio_id,
        strategy=strategy,
        currency="USD",
        opening_cash=cash,
        panel=panel,
        timeline=timeline,
        first=first,
        trades=make_trades(rows),
        unfilled=tuple(unfilled),
        unfilled_decided=tuple(order.bar - 1 for order in unfilled),
        trimmed_fills=3,
        trimmed_notional=1234.5,
        stale_closes=7,
        simulation_seconds=0.25,
        flows=moved,
        **series,
    )


def make_flows(flows, timeline):
    """What ``make_result`` calls flows as a result has them: transfers come at the close before, others at the open."""
    rows, at, amounts, kinds = [], [], [], []
    for row, amount, *kind in sorted(flows, key=lambda flow: flow[0]):
        kinds.append(kind[0] if kind else "deposit" if amount > 0 else "withdrawal")
        closes = kinds[-1] == "transfer" or row >= len(timeline)
        at.append(timeline.available[row - 1] if closes else timeline.opens[row])
        rows.append(row)
        amounts.append(amount)
    references = tuple(
        f"daily {stamp}" if kind == "transfer" else f"r{i}"
        for i, (kind, stamp) in enumerate(zip(kinds, at, strict=True))
    )
    return Flows(np.array(rows, np.int64), np.array(at, US), np.array(amounts, float), tuple(kinds), references)


def make_master(*results, opening=0.0, flows=()):
    """The master account of an allocator that made the transfers of ``results``; ``flows`` are (time, amount)."""
    own = [(np.datetime64(at, "us"), amount, "deposit" if amount > 0 else "withdrawal", "m") for at, amount in flows]
    sides = [
        (at, -amount, kind, reference)
        for result in results
        for at, amount, kind, reference in zip(
            result.flows.at, result.flows.amount, result.flows.kind, result.flows.reference, strict=True
        )
        if kind == "transfer"
    ]
    rows = sorted(own + sides, key=lambda flow: flow[0])
    at, amounts, kinds, references = zip(*rows, strict=True) if rows else [()] * 4
    moved = Flows(np.full(len(rows), -1), np.array(at, US), np.array(amounts, float), tuple(kinds), tuple(references))
    return MasterResult(opening, moved, make_allocations(results, opening, moved))


def make_allocations(results, opening, master_flows):
    """An allocation for each time at which money was transferred."""
    made = []
    for at in np.unique(np.concatenate([r.flows.at[np.array(r.flows.kind) == "transfer"] for r in results])):
        transfer = np.array(
            [r.flows.amount[(r.flows.at == at) & (np.array(r.flows.kind) == "transfer")].sum() for r in results]
        )
        equity = np.array(
            [r.equity[max(np.searchsorted(r.timeline.available[r.first :], at, "right") - 1, 0)] for r in results]
        )
        made.append(
            AllocationResult(
                run_id=f"daily {at}",
                at=moment(at),
                portfolios=tuple(r.portfolio_id for r in results),
                equity=equity,
                target=equity + transfer - 5.0,
                transfer=transfer,
                shortfall=np.full(len(results), 5.0),
                master_cash=opening + float(master_flows.amount[master_flows.at <= at].sum()),
            )
        )
    return tuple(made)


def make_trades(rows):
    """Fills as rows of numbers, in the order of the columns of ``Trades``."""
    columns: Any = zip(*rows, strict=True) if rows else [()] * 9
    kinds = [np.int64] * 3 + [np.float64] * 6
    names = [field.name for field in fields(Trades)][: len(kinds)]
    made: dict[str, Any] = {
        name: np.array(column, dtype=kind) for name, column, kind in zip(names, columns, kinds, strict=True)
    }
    return Trades(**made)


def hold(result):
    """A benchmark on the same panel: everything into the first ticker at the first bar's close, without costs."""
    close = forward_fill(result.panel.close)[result.first :, 0]
    shares = result.opening_cash / close[0]
    nothing = np.zeros(len(close))
    worth = close * shares
    return replace(
        result,
        strategy="buy_and_hold",
        equity=worth,
        cash=nothing,
        gross=worth,
        net=worth,
        trades=make_trades([]),
        unfilled=(),
        flows=Flows.none(),
    )


def make_run(*results, benchmark=True, **changes):
    results = results or (make_result(),)
    values: dict[str, Any] = {
        "name": "demo",
        "portfolios": results,
        "benchmarks": {result.portfolio_id: hold(result) for result in results} if benchmark else {},
        "prices": "adjusted",
        "fill": "next bar's open",
        "costs": "commission PercentCommission(rate=0.0005), slippage BpsSlippage(bps=1.0)",
        "config": {"name": "demo", "mode": "backtest", "portfolios": [{"id": r.portfolio_id} for r in results]},
        "versions": {"portfolio-engine": "0.1.0", "python": "3.11.9", "numpy": np.__version__},
        "fingerprint": "sha256:4f0c" + "ab" * 30,
        "notes": ("Prices are adjusted for splits and dividends.",),
        "load_seconds": 0.5,
    }
    return RunResult(**(values | changes))


@pytest.fixture(scope="session")
def build_result():
    """``build_result(tickers, bars=…, …) -> PortfolioResult``."""
    return make_result


@pytest.fixture(scope="session")
def build_run():
    """``build_run(*results, benchmark=True, …) -> RunResult``."""
    return make_run


@pytest.fixture(scope="session")
def build_master():
    """``build_master(*results, opening=0.0, flows=()) -> MasterResult`` of the transfers of ``results``."""
    return make_master


@pytest.fixture(scope="session")
def allocated():
    """Two portfolios and a master: ten transfers, a deposit each month, a withdrawal, and something after the end."""
    moved = [(20 * i, 1e4 * (-1) ** i, "transfer") for i in range(1, 11)]
    first = [*moved, *((21 * i, 500.0) for i in range(14)), (155, -9e4), (300, 77.0)]
    results = [make_result(flows=first), make_result(("GOOG", "KO"), portfolio_id="two", seed=4, strategy="<b>x")]
    return make_run(*results, master=make_master(*results, opening=5e5))


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium; without one, the test is skipped, or fails where it must not be."""
    with closing(Browser(find_chromium(os.environ))) as started:
        yield started
