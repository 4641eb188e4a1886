"""Every config in configs/ loads and runs as it stands, but for its database and its length."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from framework.cli.main import run_command
from framework.config.load import load

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
#: What makes a run short, by mode.
SHORTER = {
    "backtest": ["end=2005-03-31"],
    "paper": ["clock.seconds_per_day=0", "clock.end=2009-04-03"],
}


@pytest.fixture
def run(tmp_path, database, monkeypatch, capfd):
    """Runs a config in a workspace of its own; gives what --json prints, and stderr."""
    monkeypatch.chdir(tmp_path)

    def engine(config, *overrides):
        (tmp_path / config.name).write_text(config.read_text())
        given = [word for each in (f"database.url={database}", *overrides) for word in ("--set", each)]
        status = run_command(("run", config.name, "--json", *given))
        out, err = capfd.readouterr()
        assert status == 0, err
        return json.loads(out), err

    return engine


def test_there_are_some():
    assert [path.name for path in CONFIGS] == ["demo.yaml", "multi_portfolio.yaml", "paper.yaml"]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_it_runs(run, config):
    mode = load(config, []).config.mode
    found, _ = run(config, *SHORTER[mode])
    traded = {name: portfolio["trades"] for name, portfolio in found["portfolios"].items()}
    assert len(traded) == 3
    # The first of the demo waits for a cross, which comes later; the momentum of the multi, for the end of a month.
    assert all(trades > 0 for name, trades in traded.items() if name not in ("1", "momentum"))


def test_the_portfolios_of_the_multi_are_fed_by_the_allocator_and_come_out_the_same_in_a_replay(run):
    config = ROOT / "configs" / "multi_portfolio.yaml"
    found, err = run(config, "mode=replay", "end=2005-04-15")
    assert err.count("ends as the backtest does") == 3
    assert all(portfolio["trades"] > 0 for portfolio in found["portfolios"].values())


def test_all_of_the_paper_demo_trade_and_it_says_when_it_is_over(run):
    paper = ROOT / "configs" / "paper.yaml"
    days = load(paper, []).config.clock
    assert 25 <= (days.end - days.start).days * days.seconds_per_day <= 40
    short = ["clock.seconds_per_day=0", "clock.end=2009-03-20"]
    first, err = run(paper, *short)
    assert [portfolio["trades"] for portfolio in first["portfolios"].values()] == [3, 2, 4]
    assert "clock is over" not in err
    again, err = run(paper, *short)
    assert [portfolio["trades"] for portfolio in again["portfolios"].values()] == [0, 0, 0]
    assert "Note: the simulated clock is over: these books have lived to its end, 2009-03-20" in err
    assert "To go on, give a later end (--set clock.end=…); to start afresh, use another database.url" in err
    further, err = run(paper, "clock.seconds_per_day=0", "clock.end=2009-04-03")
    assert "clock is over" not in err
    assert further["portfolios"]["momentum"]["trades"] == 2
