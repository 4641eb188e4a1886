"""``engine report``: live books, folders of backtests, and what is said of all else."""

from __future__ import annotations

import json
from datetime import date

import pytest

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
    days = (date.fromisoformat(found["end"]) - date.fromisoformat(opening["timestamp"][:10])).days
    assert (1 + found["money_weighted_return"]) ** (days / 365.25) - 1 == pytest.approx(found["total_return"])
    assert expected["money_weighted_return"] == pytest.approx(found["money_weighted_return"], rel=0.06)
    assert json.loads((tmp_path / "live" / "summary.json").read_text()) == found
    shown = engine("report", "--portfolio", "1")
    assert "Time-weighted return" in shown.stdout
    assert "Last trades" in shown.stdout


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
        ([".", "--start", "2024-01-01"], "engine: --start, --end, --out, --config and --url go with --portfolio"),
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
