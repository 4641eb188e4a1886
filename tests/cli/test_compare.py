"""``engine report --compare``: on runs of the real engine, and what is said of all else."""

from __future__ import annotations

import json
from datetime import date

import pytest

from tests.prices import write_prices

CONFIG = """\
name: cross
mode: backtest
start: 2009-12-31
end: 2010-03-31
data_source: {name: csv, params: {path: prices.csv}}
broker: {name: simulated, params: {commission: {name: percent, rate: 0.001}}}
portfolios:
  - id: "1"
    cash: 100000
    tickers: [AAPL, IBM, MSFT]
    lookback: 60
    strategy: {name: sma_cross, params: {fast: 3, slow: 8}}
"""


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch, database):
    """A working folder with a config; the database is found as a user's is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    write_prices(tmp_path / "prices.csv", ["AAPL", "IBM", "MSFT"], date(2008, 1, 2), date(2013, 3, 1))
    (tmp_path / "c.yaml").write_text(CONFIG)


def test_runs_stand_side_by_side(engine, tmp_path):
    assert engine("run", "c.yaml", "--out", "runs/fast").returncode == 0
    slow = ("--set", "strategy.params.fast=5", "--out", "runs/slow")
    assert engine("run", "c.yaml", *slow).returncode == 0
    assert engine("run", "c.yaml", "--set", "end=2010-02-26", "--out", "runs/short").returncode == 0

    done = engine("report", "--compare", "runs/fast", "runs/slow", "--out", "page.html", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert [run["name"] for run in found["runs"]] == ["fast", "slow"]
    assert found["differs"] == {"config": {"portfolios.0.strategy.params.fast": [3, 5]}, "else": {}}
    assert found["warnings"] == []
    for run, folder in zip(found["runs"], ("fast", "slow"), strict=True):
        total = json.loads((tmp_path / "runs" / folder / "summary.json").read_text())["total"]
        assert run["figures"]["total_return"] == total["total_return"]
        assert run["figures"]["trades"] == total["trades"] > 10
        assert run["sessions"] == total["sessions"]
    assert "<title>fast and slow – comparison</title>" in (tmp_path / "page.html").read_text()

    done = engine("report", "--compare", "runs/fast", "runs/slow", "runs/short", "--out", "out")
    assert (done.returncode, done.stderr) == (0, "")
    for text in ("Max drawdown", "Less fast", "Correlation", "portfolios.0.strategy.params.fast", "On common sessions"):
        assert text in done.stdout
    assert "Note: The runs are of different periods (" in done.stdout
    assert done.stdout.endswith("Written to out/compare.html\n")
    assert (tmp_path / "out" / "compare.html").is_file()


def test_help_has_an_example(engine):
    assert "Example: engine report --compare runs/fast runs/slow" in engine("report", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["--compare"], "engine: no run folders given; --compare takes two or more, such as `engine report --compare"),
        (["--compare", "a"], "engine: 1 run folder given; --compare takes two or more"),
        (["--compare", "a", "./a"], "engine: 'a' is given twice"),
        (["--compare", "a", "b"], "engine: there is no folder 'a'; give the one that `engine run` named"),
        (["--compare", "a", "b", "--portfolio", "1"], "engine: --portfolio does not go with --compare"),
        (["--compare", "--start", "x", "--end", "y"], "engine: --start and --end do not go with --compare"),
        (["a", "b"], "engine: 2 RUN_DIRs were given; `engine report --compare RUN_DIR RUN_DIR…` compares them"),
    ],
)
def test_wrong_usage_is_exit_2(engine, arguments, answer):
    done = engine("report", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(answer)


def test_a_summary_without_a_total_is_no_run(engine, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text('{"portfolio_id": "1", "final_equity": "5.00"}')
    done = engine("report", "--compare", "a", "b")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "engine: 'a/summary.json' has no section `total`, so no run left it; compare folders of `engine run` and "
        "`engine report --portfolio ID --out DIR`\n"
    )
