"""``engine report``: live books, folders of backtests, and what is said of all else."""

from __future__ import annotations

import csv
import json
from datetime import date, datetime, timedelta

import pytest

from tests.parity.test_cron import hourly
from tests.prices import write_prices

PAPER = """\
name: p
mode: paper
clock: {start: 2010-01-04, end: 2010-03-31, seconds_per_day: 0}
data_source: {name: csv, params: {path: prices.csv, name: p}}
adjust: none
broker: {name: paper, params: {commission: {name: percent, rate: 0.001}, slippage: {name: bps, bps: 2}}}
portfolios:
  - id: "1"
    cash: 100000
    tickers: [AAPL, IBM, MSFT]
    lookback: 60
    strategy: {name: sma_cross, params: {fast: 3, slow: 8}}
"""
BACKTEST = PAPER.replace("mode: paper", "mode: backtest\nstart: 2009-12-31\nend: 2010-03-31").replace(
    "clock: {start: 2010-01-04, end: 2010-03-31, seconds_per_day: 0}\n", ""
)


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch, database):
    """A working folder with both configs; the database is found as a user's is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    write_prices(tmp_path / "prices.csv", ["AAPL", "IBM", "MSFT"], date(2008, 1, 2), date(2013, 3, 1))
    (tmp_path / "paper.yaml").write_text(PAPER)
    (tmp_path / "backtest.yaml").write_text(BACKTEST.replace("name: paper,", "name: simulated,"))


def test_live_books_report_what_the_backtest_does(engine, tmp_path):
    assert engine("run", "paper.yaml").returncode == 0
    done = engine("run", "backtest.yaml", "--out", "out", "--json")
    expected = json.loads(done.stdout)["portfolios"]["1"]
    done = engine("report", "--portfolio", "1", "--json", "--out", "live")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["trades"] == expected["trades"] > 10
    assert found["valuations"] == expected["bars"]
    for name in ("total_return", "max_drawdown", "turnover"):
        assert found[name] == pytest.approx(expected[name], abs=1e-9)
    for name in ("final_equity", "fees"):
        assert float(found[name]) == pytest.approx(expected[name], abs=0.01)
    (opening,) = found["flows"]
    assert (opening["kind"], float(opening["amount"])) == ("deposit", 100000.0)
    booked = read_rows(tmp_path / "live" / "valuations.csv")[-1]["booked"]
    days = (datetime.fromisoformat(booked) - datetime.fromisoformat(opening["timestamp"])) / timedelta(days=1)
    assert (1 + found["money_weighted_return"]) ** (days / 365.25) - 1 == pytest.approx(found["total_return"])
    assert expected["money_weighted_return"] == pytest.approx(found["money_weighted_return"], rel=0.06)
    assert json.loads((tmp_path / "live" / "summary.json").read_text()) == found
    shown = engine("report", "--portfolio", "1")
    assert "Time-weighted return" in shown.stdout
    assert "Last trades" in shown.stdout
    same_as_the_backtests(tmp_path / "live", tmp_path / "out", expected, found["total"])
    done = engine("report", "--compare", "out", "live", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    compared = json.loads(done.stdout)
    assert [run["costs"] for run in compared["runs"]][1] == "as booked, fee by fee"
    assert compared["runs"][0]["figures"]["sharpe"] == pytest.approx(compared["runs"][1]["figures"]["sharpe"])
    assert "Sharpe" in engine("report", "live").stdout


def same_as_the_backtests(live, out, expected, found):
    """The live report has a backtest's files, with the backtest's numbers."""
    files = {path.name for path in out.glob("*")} - {"1", "allocations.csv"}
    assert {path.name for path in live.glob("*")} == files | {"valuations.csv"}
    assert (live / "returns_monthly.csv").read_text() == (out / "returns_monthly.csv").read_text()
    assert (live / "rolling.csv").read_text() == (out / "rolling.csv").read_text()
    for name in ("cagr", "volatility", "sharpe", "sortino", "calmar", "exposure", "turnover", "sessions_per_year"):
        assert found[name] == pytest.approx(expected[name], abs=1e-9), name
    assert found["lots"] == pytest.approx(expected["lots"])
    for name in ("positions.csv", "lots.csv"):
        both = [read_rows(folder / name) for folder in (live, out)]
        assert len(both[0]) == len(both[1]) > 5
        for mine, theirs in zip(*both, strict=True):
            assert mine.keys() == theirs.keys()
            for key, text in mine.items():
                assert text == theirs[key] or float(text) == pytest.approx(float(theirs[key]), abs=1e-5), key
    unfilled = read_rows(out / "unfilled.csv")
    assert read_rows(live / "unfilled.csv") == [row for row in unfilled if row["reason"] != "end of data"] != []
    trades = [read_rows(folder / "trades.csv") for folder in (live, out)]
    for name in ("ticker", "side", "quantity", "exec_price", "notional", "fees", "decision_bar", "exec_timestamp"):
        assert [row[name] for row in trades[0]] == [row[name] for row in trades[1]], name
    assert all(row["order_id"] and row["execution_id"] for row in trades[0])


def read_rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_books_differ_from_their_own_backtest_by_nothing(engine, tmp_path):
    assert engine("run", "paper.yaml").returncode == 0
    done = engine("report", "--portfolio", "1", "--against", "paper.yaml", "--out", "live", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)["comparison"]
    assert found["compared"] > 10
    assert (found["decided_otherwise"], found["filled_otherwise"]) == (0, 0)
    assert found["difference"] == pytest.approx(0, abs=0.01)
    assert all(abs(amount) < 0.01 for amount in found["parts"].values())
    assert len(read_rows(tmp_path / "live" / "comparison.csv")) == found["compared"]
    part = ("--start", "2010-02-01", "--end", "2010-03-12")
    found = json.loads(engine("report", "--portfolio", "1", "--against", "paper.yaml", *part, "--json").stdout)
    assert found["comparison"]["compared"] > 0
    assert all(abs(amount) < 0.01 for amount in found["comparison"]["parts"].values())


def test_an_order_refused_on_the_eve_of_a_period_is_in_neither(engine, tmp_path):
    """The risk rule cuts orders on Friday the 12th; the period begins with the session after it."""
    ruled = PAPER + "    schedule: weekly\n    risk: [{name: max_weight, params: {limit: 0.3}}]\n"
    (tmp_path / "ruled.yaml").write_text(ruled)
    assert engine("run", "ruled.yaml").returncode == 0
    asked = ("report", "--portfolio", "1", "--against", "ruled.yaml", "--start", "2010-02-13", "--json")
    found = json.loads(engine(*asked).stdout)["comparison"]
    assert found["compared"] > 5
    assert (found["decided_otherwise"], found["filled_otherwise"]) == (0, 0)
    assert all(abs(amount) < 0.01 for amount in found["parts"].values())


def test_books_that_begin_in_the_middle_of_a_session(engine, tmp_path):
    """The engine decides at its start on the last bar of the day before; the backtest knows no earlier one either."""
    (tmp_path / "hours").mkdir()
    hourly(tmp_path / "hours")
    hours = PAPER.replace("{path: prices.csv, name: p}", "{path: hours, name: hours}").replace(
        "{start: 2010-01-04, end: 2010-03-31,", "{start: 2024-03-04, end: 2024-03-08,"
    )
    hours = hours.replace("[AAPL, IBM, MSFT]", "[AA, BB, CC]").replace("adjust: none", "interval: 1h")
    hours = hours.replace("{name: sma_cross, params: {fast: 3, slow: 8}}", "buy_and_hold")
    (tmp_path / "hours.yaml").write_text(hours)
    done = engine("run", "hours.yaml")
    assert done.returncode == 0, done.stderr
    found = json.loads(engine("report", "--portfolio", "1", "--against", "hours.yaml", "--json").stdout)["comparison"]
    assert (found["compared"], found["decided_otherwise"], found["filled_otherwise"]) == (3, 0, 0)
    assert found["difference"] == pytest.approx(0, abs=0.01)


def test_a_backtest_with_other_costs_differs_by_its_costs(engine, tmp_path):
    """Ten times the fees: they are the difference, but for the smaller positions that they leave money for."""
    assert engine("run", "paper.yaml").returncode == 0
    (tmp_path / "dear.yaml").write_text(PAPER.replace("rate: 0.001", "rate: 0.01"))
    shown = engine("report", "--portfolio", "1", "--against", "dear.yaml")
    assert "decisions in the books were made with another config than the one that is compared with" in shown.stdout
    assert "Against the backtest" in shown.stdout
    found = json.loads(engine("report", "--portfolio", "1", "--against", "dear.yaml", "--json").stdout)
    numbers, parts = found["comparison"], found["comparison"]["parts"]
    paid = float(found["fees"])
    assert parts["costs"] == pytest.approx(9 * paid, rel=0.2)
    assert parts["fill_prices"] == pytest.approx(0, abs=0.01)
    assert sum(parts.values()) == pytest.approx(numbers["difference"], abs=1e-5)
    assert parts["income_and_valuation"] == pytest.approx(0, abs=0.01)


def test_a_backtests_folder_shows_what_its_run_did(engine):
    ran = engine("run", "backtest.yaml", "--out", "out")
    again = engine("report", "out")
    assert (again.returncode, again.stdout, again.stderr) == (0, ran.stdout, "")
    assert json.loads(engine("report", "out", "--json").stdout)["name"] == "p"


def test_help_has_an_example(engine):
    done = engine("report", "--help")
    assert done.returncode == 0
    assert "Example: engine report --portfolio 1 --start 2024-01-01" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["nope"], "engine: there is no folder 'nope'; give the one that `engine run` named"),
        (["."], "engine: '.' holds no summary.json, so no finished backtest left it"),
        ([], "engine: neither a RUN_DIR nor --portfolio was given; give one"),
        ([".", "--portfolio", "1"], "engine: both a RUN_DIR and --portfolio was given; give one"),
        (
            [".", "--start", "2024-01-01"],
            "engine: --start, --end, --out, --against, --config and --url go with --portfolio",
        ),
        (["--portfolio", "1"], "engine: there is no portfolio '1' in the books (none is open)"),
        (["--portfolio", "1", "--start", "May"], "engine: --start was 'May'; allowed: a date written YYYY-MM-DD"),
        (
            ["--portfolio", "1", "--start", "2024-01-02", "--end", "2024-01-01"],
            "engine: the range is empty: its start 2024-01-02 is after its end 2024-01-01",
        ),
    ],
)
def test_wrong_usage_is_exit_2(engine, arguments, answer):
    done = engine("report", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(answer)


def test_a_portfolio_that_was_never_valued_is_exit_1(engine):
    opened = engine("portfolio", "open", "1", "--mode", "paper", "--broker", "paper", "--account", "a", "--cash", "5")
    assert opened.returncode == 0
    done = engine("report", "--portfolio", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("engine: portfolio '1' was never valued")


@pytest.mark.parametrize(("text", "status"), [("{", 1), ("[]", 2), ("{}", 2)])
def test_a_summary_that_is_none(engine, tmp_path, text, status):
    (tmp_path / "summary.json").write_text(text)
    done = engine("report", ".")
    assert (done.returncode, done.stdout) == (status, "")
    assert "summary.json" in done.stderr
