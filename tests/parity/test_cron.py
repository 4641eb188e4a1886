"""Cron schedules decide and trade alike in backtest, replay and paper, wherever between the bars their slots lie."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg2
import pytest

from framework.cli.main import run_command
from framework.data.calendars import covering

DAILY = ("0 16 * * 1-5", "0 18 * * 2,4", "0 9 * * 1", "30 15 * * 1-5", "0 12 1,15 * *", "*/30 10-17 * * *")
HOURLY = ("30 10,12 * * *", "45 10 * * *", "0 9 * * *", "50 15 * * *", "*/20 * * * *")
#: Keeps limit orders open over several bars, and remembers; what is decided between bars must count on them alike.
PATIENT = """\
from framework import Strategy, hookimpl


class Patient(Strategy):
    def on_bar(self, ctx):
        seen = ctx.state["seen"] = ctx.state.get("seen", 0) + 1
        for number, ticker in enumerate(ctx.tickers):
            close = float(ctx.close[number])
            if close != close:
                continue
            if seen % 3 == number % 3:
                ctx.order(ticker, 100, limit=round(close * 0.99, 2), time_in_force="GTC")
            elif ctx.positions[number] > 300:
                ctx.order(ticker, -150, time_in_force="DAY")
            else:
                ctx.order_target(ticker, 200, limit=round(close * 1.001, 2))


@hookimpl
def register_strategies():
    return {"patient": Patient}
"""
COSTS = "params: {commission: {name: percent, rate: 0.0005}, slippage: {name: bps, bps: 1}}"
RISK = ", risk: [{name: max_gross, params: {limit: 0.9}}]"


@pytest.fixture
def engine(tmp_path, database, monkeypatch, capfd):
    """Runs a config of these sections; gives (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "patient.py").write_text(PATIENT)

    def run(text, *arguments):
        (tmp_path / "c.yaml").write_text(text)
        status = run_command(("run", "c.yaml", "--json", *arguments))
        return status, *capfd.readouterr()

    return run


def daily(mode, start):
    return (
        f"name: c\nmode: {mode}\nstart: {start}\nend: 2010-03-31\ndata_source: sample\n"
        f"broker: {{name: simulated, {COSTS}}}\n"
    )


def portfolios(schedules, tickers="[AAPL, IBM, MSFT]", risk=""):
    """Two for each schedule: one of each style."""
    return "portfolios:\n" + "".join(
        f"  - {{id: {style}{number}, cash: 100000, lookback: 60, tickers: {tickers}, schedule: '{text}'{risk},\n"
        f"     strategy: {strategy}}}\n"
        for number, text in enumerate(schedules)
        for style, strategy in (("w", "{name: sma_cross, params: {fast: 3, slow: 8}}"), ("b", "{name: patient}"))
    )


def hourly(folder):
    """Prices of three tickers for some weeks, with a bar missing here and there."""
    known = covering("XNYS", datetime(2024, 2, 26).date(), datetime(2024, 4, 5).date())  # noqa: DTZ001
    rng = np.random.default_rng(7)
    for ticker in ("AA", "BB", "CC"):
        lines, price = ["timestamp,ticker,open,high,low,close,volume"], 100.0
        for opens, closes in zip(known.opens.tolist(), known.closes.tolist(), strict=True):
            at = opens
            while at < closes:
                last = round(price * float(np.exp(rng.normal(0, 0.01))), 2)
                high, low = round(max(price, last) * 1.002, 2), round(min(price, last) * 0.998, 2)
                if rng.random() > 0.05:
                    lines.append(f"{at.replace(tzinfo=UTC).isoformat()},{ticker},{price},{high},{low},{last},1000")
                price, at = last, at + timedelta(hours=1)
        (folder / f"{ticker}.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.slow
def test_replay_of_daily_bars(engine):
    head = daily("replay", "2010-01-04")
    status, out, err = engine(head + portfolios(DAILY))
    assert status == 0, err
    trades = {name: found["trades"] for name, found in json.loads(out)["portfolios"].items()}
    assert len(trades) == 2 * len(DAILY)
    assert min(trades.values()) > 1


@pytest.mark.slow
def test_replay_of_hourly_bars(engine, tmp_path):
    hourly(tmp_path)
    head = (
        "name: c\nmode: replay\nstart: 2024-03-04\nend: 2024-03-22\ninterval: 1h\n"
        f"data_source: {{name: csv, params: {{path: '*.csv'}}}}\nbroker: {{name: simulated, {COSTS}}}\n"
    )
    status, out, err = engine(head + portfolios(HOURLY, "[AA, BB, CC]", RISK))
    assert status == 0, err
    trades = {name: found["trades"] for name, found in json.loads(out)["portfolios"].items()}
    assert trades.pop("w3") == 0  # its orders are for the day, and given in the day's last bar
    assert min(trades.values()) > 1
    status, out, err = engine(head + portfolios(HOURLY, "[AA, BB, CC]"))
    assert status == 0, err


@pytest.mark.slow
def test_paper_ends_as_the_backtest_does(engine, database):
    # A paper portfolio decides at its start on the bar before, where that still holds: so the backtest starts there.
    # The slot at 15:30 of that day, on the bar before that, still holds as well, and is left out here.
    common = "adjust: none\n" + portfolios(each for each in DAILY if not each.startswith("30 15"))
    status, out, err = engine(daily("backtest", "2009-12-31") + common, "--out", "o")
    assert status == 0, err
    expected = {name: found["trades"] for name, found in json.loads(out)["portfolios"].items()}
    status, out, err = engine(
        "name: c\ndata_source: sample\nmode: paper\nclock: {start: 2010-01-04, end: 2010-03-31, seconds_per_day: 0}\n"
        f"broker: {{name: paper, {COSTS}}}\n{common}"
    )
    assert status == 0, err
    found = {name: ending["trades"] for name, ending in json.loads(out)["portfolios"].items()}
    assert found == expected
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT (due_at AT TIME ZONE 'America/New_York')::time::text FROM decisions "
            "WHERE portfolio_id = 'b1' ORDER BY 1"
        )
        assert cursor.fetchall() == [("18:00:00",)]
        cursor.execute("SELECT count(*), count(DISTINCT (portfolio_id, bar_timestamp)) FROM decisions")
        (counts,) = cursor.fetchall()
        assert counts[0] == counts[1]
    connection.close()


def test_what_can_never_be_is_refused(engine):
    head = daily("backtest", "2010-01-04")
    status, out, err = engine(head + portfolios(["0 12 * * 0"]))
    assert (status, out) == (2, "")
    assert "schedule '0 12 * * 0' has no moment on a session of calendar XNYS" in err
