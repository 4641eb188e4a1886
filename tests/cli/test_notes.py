"""What a reader must know is said: on the terminal, in the summary."""

import json

import pytest

CONFIG = """\
name: notes
mode: backtest
start: 2010-01-04
end: 2010-03-31
data_source: {name: sample}
broker: {name: simulated, params: {commission: COMMISSION}}
portfolios:
  - id: a
    cash: 1000
    tickers: [IBM]
    strategy: {name: NAME}
"""
PLUGIN = """\
from framework import Strategy, hookimpl


class InOut(Strategy):
    def on_bar(self, ctx):
        n = ctx.state["n"] = ctx.state.get("n", 0) + 1
        ctx.order("IBM", 1) if n == 1 else ctx.exit("IBM") if n == 3 else None


@hookimpl
def register_strategies():
    return {"in_out": InOut}
"""


@pytest.fixture
def run(tmp_path, database, monkeypatch, engine):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "in_out.py").write_text(PLUGIN)

    def with_config(strategy="buy_and_hold", commission="{name: percent, rate: 0.0005}", *arguments):
        (tmp_path / "c.yaml").write_text(CONFIG.replace("NAME", strategy).replace("COMMISSION", commission))
        done = engine("run", "c.yaml", "--json", *arguments)
        return json.loads(done.stdout) if done.returncode == 0 else None, done.stderr

    return with_config


def test_cash_below_zero_is_noted(run):
    document, said = run("in_out", "{name: per_order, amount: 700}")
    assert any("cash was below zero" in note for note in document["notes"])
    assert "Note: portfolio a: cash was below zero" in said


def test_prices_are_called_what_they_are(run, tmp_path):
    assert run()[0]["prices"] == "traded"
    (tmp_path / "IBM.csv").write_text(
        "timestamp,open,high,low,close,volume\n"
        + "".join(f"2010-01-{day:02d},50,51,49,50,1000\n" for day in range(4, 9))
    )
    adjusted = "data_source={name: csv, params: {path: IBM.csv, prices: adjusted}}"
    document, said = run("buy_and_hold", "{name: percent, rate: 0.0005}", "--set", adjusted, "--set", "end=2010-01-08")
    assert document["prices"] == "adjusted"
    assert "were adjusted for splits and dividends before they were loaded" in said


def test_a_setup_that_fails_is_the_strategys_own_error(run, tmp_path):
    (tmp_path / "plugins" / "in_out.py").write_text(PLUGIN.replace("def on_bar(self, ctx):", "def setup(self, ctx):"))
    document, said = run("in_out")
    assert document is None
    assert "strategy" in said
    assert "this is a bug" not in said
