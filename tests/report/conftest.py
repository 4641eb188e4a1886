"""Runs for the reports to be made from: a small simulator of their own, in plain NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from framework.model.panel import Panel, forward_fill
from framework.model.result import PortfolioResult, RunResult, Trades, Unfilled
from framework.model.timeline import Timeline

US = "datetime64[us]"


def make_timeline(bars, per_session=1, start="2005-01-03"):
    """Sessions on weekdays from ``start``; intraday bars are minutes from 14:30 UTC."""
    sessions = np.busday_offset(start, np.arange(bars // per_session + 2), roll="forward")
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
    fields = [np.where(hole, np.nan, field) for field in (open_, open_ * 1.01, close * 0.98, close)]
    volume = np.where(hole, np.nan, 1e6)
    return Panel(tuple(tickers), timeline.timestamps, *fields, volume)


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
    strategy="sma_cross",
):
    """Every ``every`` bars new random weights are decided on the close and filled at the next open that exists."""
    timeline = make_timeline(bars, per_session, start)
    panel = make_panel(timeline, tickers, seed, gaps)
    rng = np.random.default_rng(seed + 1)
    last = forward_fill(panel.close)
    held, money, wanted = np.zeros(len(tickers)), cash, None
    rows, unfilled, curve = [], [], []
    for t in range(first, bars):
        if wanted is not None:
            change = wanted - held
            for column in np.argsort(np.sign(change), kind="stable"):
                if change[column] == 0:
                    continue
                if np.isnan(panel.open[t, column]):
                    unfilled.append(Unfilled(t - 1, int(column), float(change[column]), "no bar"))
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
    columns = list(zip(*rows, strict=True)) if rows else [()] * 9
    whole = [np.array(column, dtype=np.int64) for column in columns[:3]]
    trades = Trades(*whole, *(np.array(column, dtype=np.float64) for column in columns[3:]))
    series = [np.array(column, dtype=np.float64) for column in zip(*curve, strict=True)]
    return PortfolioResult(
        portfolio_id,
        strategy,
        "USD",
        cash,
        panel,
        timeline,
        first,
        *series,
        trades,
        tuple(unfilled),
        3,
        1234.5,
        7,
        0.25,
    )


def hold(result):
    """A benchmark on the same panel: everything into the first ticker at the first bar's close, without costs."""
    close = forward_fill(result.panel.close)[result.first :, 0]
    shares = result.opening_cash / close[0]
    none = Trades(*[np.empty(0, dtype=np.int64)] * 3, *[np.empty(0)] * 6)
    nothing = np.zeros(len(close))
    worth = close * shares
    return replace(
        result, strategy="buy_and_hold", equity=worth, cash=nothing, gross=worth, net=worth, trades=none, unfilled=()
    )


def make_run(*results, benchmark=True, **changes):
    results = results or (make_result(),)
    values = {
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


@pytest.fixture
def build_result():
    """``build_result(tickers, bars=…, …) -> PortfolioResult``."""
    return make_result


@pytest.fixture
def build_run():
    """``build_run(*results, benchmark=True, …) -> RunResult``."""
    return make_run
