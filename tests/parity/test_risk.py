"""Replay ends as the backtest does under risk rules too, with what they refuse, shrink and halt."""

from __future__ import annotations

import json

import pytest

from framework.cli.main import run_command
from tests.parity.test_replay import HEAD, STRATEGIES, drop_in, portfolio

CASES = {
    "sizes": (
        "sma_cross",
        "{name: max_gross, params: {limit: 0.6}}, {name: max_weight, params: {limit: 0.25}}, "
        "{name: max_net, params: {limit: 0.5}}",
        {"max_gross", "max_net", "max_weight"},
    ),
    "orders": (
        "mean_reversion",
        "{name: max_order_notional, params: {limit: 20000}}, {name: max_orders_per_minute, params: {limit: 1}}",
        {"max_order_notional", "max_orders_per_minute"},
    ),
    "lists": (
        "sma_cross_on_bar",
        "{name: restricted, params: {tickers: [IBM]}}, {name: stale_price}, {name: price_collar, params: {percent: 3}}",
        {"restricted"},
    ),
    "halt": ("mean_reversion", "{name: max_drawdown, params: {limit: 0.01}}", {"max_drawdown"}),
}


@pytest.fixture
def replay(tmp_path, database, monkeypatch, capfd):
    """Replays a portfolio under risk rules on a fresh database; gives its summary."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    (tmp_path / "plugins").mkdir()

    def run(strategy, rules):
        (tmp_path / "c.yaml").write_text(HEAD + portfolio("a", strategy, f"    risk: [{rules}]\n"))
        status = run_command(("run", "c.yaml", "--out", "out", "--json"))
        out, err = capfd.readouterr()
        assert status == 0, err
        assert "portfolio a ends as the backtest does" in err
        return json.loads(out)

    return run


@pytest.mark.parametrize("name", sorted(CASES))
def test_rules_act_alike(replay, name):
    strategy, rules, refused = CASES[name]
    summary = replay(STRATEGIES[strategy], rules)
    assert refused <= set(summary["portfolios"]["a"]["unfilled"])
    assert summary["portfolios"]["a"]["trades"] > 5
    assert (name == "halt") == any("portfolio a: halted on 2010-01-22" in note for note in summary["notes"])


def test_rules_act_alike_on_limits_and_stops(replay, tmp_path):
    drop_in(
        tmp_path,
        """n = ctx.state["n"] = ctx.state.get("n", 0) + 1
        close = ctx.close
        for column, ticker in enumerate(ctx.tickers):
            if n % 3 == column:
                ctx.order(ticker, 40, limit=close[column] * (1.04 if n % 2 else 0.99), time_in_force="GTC")
                if ctx.positions[column] > 0:
                    ctx.order(ticker, -int(ctx.positions[column]), stop=close[column] * 0.97, time_in_force="GTC")
            elif n % 7 == column:
                ctx.order(ticker, -5)""",
    )
    rules = (
        "{name: price_collar, params: {percent: 3}}, {name: max_weight, params: {limit: 0.3}}, "
        "{name: max_gross, params: {limit: 0.7}}"
    )
    figures = replay("{name: drop}", rules)["portfolios"]["a"]
    assert {"price_collar", "max_weight", "max_gross"} <= set(figures["unfilled"])
    assert figures["trades"] > 20
