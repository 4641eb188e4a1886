"""Replay with an allocator, flows and a master account ends as the backtest does: each transfer to the last digit."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest

from framework.books.allocation import read_allocation
from framework.cli.main import run_command
from framework.data.calendars import covering
from framework.engine import replay
from framework.errors import ParityError

PLUGIN = """\
import numpy as np
from framework import Allocator, Strategy, hookimpl


class Fixed(Allocator):
    weights: dict[str, float]

    def portfolios(self, offered):
        return tuple(self.weights)

    def allocate(self, state):
        return np.array([self.weights[name] for name in state.portfolios]) * state.total


class Inverse(Allocator):
    \"\"\"More for who has moved less: every return counts.\"\"\"

    def sessions(self):
        return 7

    def allocate(self, state):
        known = np.nan_to_num(state.returns)
        weights = 1.0 / (0.001 + np.add.reduce(np.abs(known), axis=0)) if len(known) else np.ones(len(state.equity))
        return weights / np.add.reduce(weights) * state.total


class Limits(Strategy):
    \"\"\"Keeps buys resting below the market, so that their cash is spoken for, and sells now and then.\"\"\"

    def on_bar(self, ctx):
        n = ctx.state["n"] = ctx.state.get("n", 0) + 1
        for column, ticker in enumerate(ctx.tickers):
            if n % 3 == 1:
                ctx.cancel(ticker)
                ctx.order(ticker, 40, limit=round(float(ctx.close[column]) * 0.99, 2), time_in_force="GTC")
            elif n % 7 == 0:
                ctx.exit(ticker)


@hookimpl
def register_allocators():
    return {"fixed": Fixed, "inverse": Inverse}


@hookimpl
def register_strategies():
    return {"limits": Limits}
"""
HEAD = """\
name: allocated
mode: replay
start: 2010-01-04
end: 2010-03-19
data_source: {name: sample}
broker: {name: simulated, params: {commission: {name: percent, rate: 0.0005}, slippage: {name: bps, bps: 1}}}
"""
PORTFOLIOS = """\
portfolios:
  - {id: a, cash: 60000, tickers: [AAPL, IBM, MSFT], lookback: 60,
     strategy: {name: sma_cross_on_bar, params: {fast: 3, slow: 8}}, flows: [{every: month, amount: 1500}]}
  - {id: b, tickers: [IBM, GOOG], lookback: 60, strategy: {name: limits}, lots: fractional,
     flows: [{date: 2010-01-20, amount: -400}, {date: 2010-02-10, amount: -999999, reference: too much}]}
  - {id: c, cash: 20000, tickers: [MSFT], lookback: 60, strategy: {name: buy_and_hold}, cash_buffer: 0.02%s}
"""


@pytest.fixture
def engine(tmp_path, database, monkeypatch, capfd):
    """Runs a config on a fresh database; gives (status, what --json prints, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "allocating.py").write_text(PLUGIN)

    def run(allocator, rest="", last=""):
        text = HEAD + PORTFOLIOS % last + f"allocator: {allocator}\n{rest}"
        (tmp_path / "c.yaml").write_text(text)
        status = run_command(("run", "c.yaml", "--out", "out", "--json"))
        out, err = capfd.readouterr()
        return status, json.loads(out) if out else None, err

    return run


@pytest.fixture
def whole(engine, tmp_path, capfd):
    """Runs a config of its own; gives (status, stderr)."""

    def run(text):
        (tmp_path / "whole.yaml").write_text(text)
        status = run_command(("run", "whole.yaml", "--out", "out"))
        return status, capfd.readouterr().err

    return run


FIXED = "name: fixed, params: {weights: {a: 0.4, b: 0.3, c: 0.2}}"
MASTER = "master: {cash: 30000, flows: [{date: 2010-01-15, amount: 5000}, {date: 2010-02-01, amount: -2500}]}\n"


@pytest.mark.parametrize(
    ("allocator", "rest", "last"),
    [
        (f"{{{FIXED}, schedule: daily}}", MASTER, ""),
        (f"{{{FIXED}, schedule: weekly, min_transfer: 250, band: 0.01, cash_buffer: 0.05}}", MASTER, ""),
        ("{name: inverse, schedule: daily, caps: {a: 0.5}, floors: {c: 0.15}}", MASTER, ""),
        (f"{{{FIXED}, schedule: daily, reduce: false}}", "", ""),
        (f"{{{FIXED}, schedule: daily}}", MASTER, ", risk: [{name: max_drawdown, params: {limit: 0.02}}]"),
        ("{name: fixed, params: {weights: {a: 0.5, c: 0.5}}, schedule: monthly}", "", ""),
    ],
    ids=["daily", "weekly_banded", "by_returns", "no_reduction", "one_halts", "two_of_three"],
)
def test_an_allocator_comes_out_the_same(engine, allocator, rest, last):
    status, out, err = engine(allocator, rest, last)
    assert status == 0, err
    assert err.count("ends as the backtest does") == 3
    fed = [
        name for name, portfolio in out["portfolios"].items() if portfolio["initial_equity"] or portfolio["transfers"]
    ]
    assert len(fed) >= 2
    assert all(out["portfolios"][name]["trades"] > 0 for name in fed)
    if last:
        assert "halted on" in err
    assert "(too much) was refused" in err


HEADLESS = HEAD.replace("start: 2010-01-04\nend: 2010-03-19\n", "")
SOME = """\
start: {start}
end: {end}
portfolios:
  - {{id: a, cash: 60000, tickers: [IBM, AAPL], lookback: 20, strategy: {{name: limits}}, schedule: "{schedule}",
     flows: [{{every: week, amount: 150}}, {{date: 2010-01-20, amount: -200}}]}}
  - {{id: b, tickers: [MSFT], lookback: 20, strategy: {{name: buy_and_hold}}}}
allocator: {{name: fixed, params: {{weights: {{a: 0.4, b: 0.3}}}}}}
master: {{cash: 30000, flows: [{{every: week, amount: 500}}]}}
"""


@pytest.mark.parametrize(
    ("start", "end", "schedule"),
    [
        ("2010-01-04", "2010-02-05", "0 10 * * *"),  # decides after the session has opened, and its flows have come
        ("2004-12-06", "2005-01-21", "every_bar"),  # no prices yet, and no portfolio of a's ...
        ("2013-02-11", "2013-03-15", "every_bar"),  # ... and none any more
    ],
    ids=["cron", "before_the_data", "after_the_data"],
)
def test_flows_and_allocations_where_nobody_trades(whole, start, end, schedule):
    status, err = whole(HEADLESS + SOME.format(start=start, end=end, schedule=schedule))
    assert status == 0, err


INTRADAY = """\
name: allocated
mode: replay
start: 2024-03-04
end: 2024-03-12
interval: 1h
data_source: {name: csv, params: {path: '*.csv'}}
broker: {name: simulated, params: {commission: {name: percent, rate: 0.0005}, slippage: {name: bps, bps: 1}}}
portfolios:
  - {id: a, cash: 60000, tickers: [AA, BB], lookback: 30, flows: [{every: week, amount: 700}],
     strategy: {name: sma_cross_on_bar, params: {fast: 3, slow: 8}}}
  - {id: b, cash: 20000, tickers: [CC], lookback: 30, strategy: {name: sma_cross_on_bar, params: {fast: 2, slow: 5}}}
master: {cash: 30000}
allocator: {name: fixed, params: {weights: {a: 0.4, b: 0.3}}, schedule: %s}
"""


@pytest.mark.parametrize("schedule", ["every_bar", "daily"])
def test_hours_and_days_without_a_bar(whole, tmp_path, schedule):
    known, draw = covering("XNYS", date(2024, 2, 26), date(2024, 3, 12)), np.random.default_rng(7)
    for ticker in ("AA", "BB", "CC"):
        lines, price = ["timestamp,ticker,open,high,low,close,volume"], 100.0
        for day, opens, closes in zip(known.dates.tolist(), known.opens.tolist(), known.closes.tolist(), strict=True):
            for at in np.arange(opens, closes, timedelta(hours=1)).tolist():
                close = round(price * float(np.exp(draw.normal(0, 0.01))), 2)
                if draw.random() > 0.05 and (ticker, day) != ("CC", date(2024, 3, 6)):
                    high, low = round(max(price, close) * 1.002, 2), round(min(price, close) * 0.998, 2)
                    lines.append(f"{at.isoformat()}Z,{ticker},{price},{high},{low},{close},1000")
                price = close
        (tmp_path / f"{ticker}.csv").write_text("\n".join(lines) + "\n")
    status, err = whole(INTRADAY % schedule)
    assert status == 0, err


def test_another_amount_is_found(engine, monkeypatch):
    monkeypatch.setattr(replay, "read_allocation", lambda *asked: _nudged(read_allocation(*asked)))
    status, _, err = engine(f"{{{FIXED}, schedule: weekly}}", MASTER)
    assert status == ParityError.exit_code
    assert "replay and backtest differ in the allocation allocated/fixed:2010-01-08:close" in err


def _nudged(made):
    """The same with a micro more for the first portfolio."""
    first = replace(made.shares[0], transfer=made.shares[0].transfer + Decimal("0.000001"))
    return replace(made, shares=(first, *made.shares[1:]))
