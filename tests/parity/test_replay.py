"""Replay through threads, database, journal and ledger ends as the backtest does, to the cent."""

from __future__ import annotations

import json

import psycopg2
import pytest

from framework.books.audit import audit
from framework.cli.main import run_command
from framework.engine import replay

HEAD = """\
name: parity
mode: replay
start: 2010-01-04
end: 2010-04-30
data_source: {name: sample}
broker: {name: simulated, params: {commission: {name: percent, rate: 0.0005}, slippage: {name: bps, bps: 1}}}
portfolios:
"""
STRATEGIES = {
    "buy_and_hold": "{name: buy_and_hold}",
    "sma_cross": "{name: sma_cross, params: {fast: 3, slow: 8}}",
    "sma_cross_on_bar": "{name: sma_cross_on_bar, params: {fast: 3, slow: 8}}",
    "momentum": "{name: momentum, params: {lookback: 40, skip: 5}}",
    "mean_reversion": "{name: mean_reversion, params: {period: 10, entry: 1.0}}",
}


def portfolio(name, strategy, extra=""):
    return (
        f"  - id: {name}\n    cash: 100000\n    tickers: [AAPL, IBM, MSFT]\n    lookback: 60\n"
        f"    strategy: {strategy}\n{extra}"
    )


@pytest.fixture
def engine(tmp_path, database, monkeypatch, capfd):
    """Runs a config on a fresh database; gives (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    (tmp_path / "plugins").mkdir()

    def run(portfolios, *arguments):
        (tmp_path / "c.yaml").write_text(HEAD + portfolios)
        status = run_command(("run", "c.yaml", "--out", "out", "--json", *arguments))
        return status, *capfd.readouterr()

    return run


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize("lots", ["whole", "fractional"])
def test_each_bundled_strategy(engine, name, lots):
    schedule = "    schedule: monthly\n" if name == "momentum" else ""
    status, out, err = engine(portfolio("a", STRATEGIES[name], f"    lots: {lots}\n{schedule}"))
    assert status == 0, err
    trades = json.loads(out)["portfolios"]["a"]["trades"]
    assert trades > 2
    assert f"portfolio a ends as the backtest does: {trades} trades" in err


def test_three_portfolios_at_once_leave_nothing_behind(engine, database):
    names = ("sma_cross", "mean_reversion", "buy_and_hold")
    status, _, err = engine("".join(portfolio(number, STRATEGIES[name]) for number, name in enumerate(names, start=1)))
    assert status == 0, err
    assert err.count("ends as the backtest does") == 3
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'replay%'")
        assert cursor.fetchall() == []
        cursor.execute("SELECT count(*) FROM portfolios")
        assert cursor.fetchone() == (0,)
    connection.close()


PLUGIN = """\
import numpy as np
from framework import Strategy, hookimpl


class Drop(Strategy):
    def on_bar(self, ctx):
        {body}


@hookimpl
def register_strategies():
    return {{"drop": Drop}}
"""


def drop_in(tmp_path, body):
    (tmp_path / "plugins" / "drop.py").write_text(PLUGIN.format(body=body))


def test_orders_quantities_state_and_lapses(engine, tmp_path):
    drop_in(
        tmp_path,
        """n = ctx.state["n"] = ctx.state.get("n", 0) + 1
        ctx.state["lapsed"] = ctx.state.get("lapsed", 0) + len(ctx.lapsed)
        if n % 5 == 0:
            ctx.order("AAPL", 10 + ctx.state["lapsed"])
        if n % 7 == 0:
            ctx.order("IBM", -3)
        if n % 11 == 0:
            ctx.order_target("MSFT", n)
        if n % 13 == 0:
            ctx.target_weights({"IBM": 2.0, "MSFT": -0.1})
        if n % 17 == 0:
            ctx.exit("IBM")""",
    )
    status, out, err = engine(portfolio("a", "{name: drop}"))
    assert status == 0, err
    figures = json.loads(out)["portfolios"]["a"]
    assert figures["trades"] > 20
    assert {"short not allowed", "no cash"} <= set(figures["unfilled"])


def test_limit_and_stop_orders_of_every_validity(engine, tmp_path):
    drop_in(
        tmp_path,
        """n = ctx.state["n"] = ctx.state.get("n", 0) + 1
        ctx.state["lapsed"] = ctx.state.get("lapsed", 0) + sum(order.quantity for order in ctx.lapsed)
        close = ctx.close
        if n % 3 == 0:
            ctx.order("AAPL", 20, limit=close[0] * 0.995)
            ctx.order("AAPL", -10, stop=close[0] * 0.99, time_in_force="GTC")
        if n % 5 == 0:
            ctx.order("IBM", 30, stop=close[1] * 1.002, limit=close[1] * 1.01)
            ctx.order("IBM", -15, limit=close[1] * 1.01, time_in_force="GTC")
        if n % 7 == 0:
            ctx.order("MSFT", 50, time_in_force="IOC", limit=close[2])
            ctx.order("MSFT", -25, stop=close[2] * 0.98, limit=close[2] * 0.97, time_in_force="GTC")
        if n % 11 == 0:
            ctx.target_weights({"AAPL": 0.1, "IBM": 0.05})
        if n % 17 == 0:
            ctx.cancel("IBM")
        if n % 19 == 0:
            ctx.exit("MSFT")""",
    )
    status, out, err = engine(portfolio("a", "{name: drop}"))
    assert status == 0, err
    figures = json.loads(out)["portfolios"]["a"]
    assert figures["trades"] > 25
    assert {"not reached", "replaced", "cancelled"} <= set(figures["unfilled"])


def test_orders_for_the_auctions(engine, tmp_path):
    drop_in(
        tmp_path,
        """n = ctx.state["n"] = ctx.state.get("n", 0) + 1
        if n % 3 == 0:
            ctx.order("AAPL", 9, time_in_force="CLS")
            ctx.order("IBM", 7, time_in_force="OPG", limit=ctx.close[1] * 1.001)
        if n % 5 == 0:
            ctx.order("AAPL", -6, time_in_force="CLS", limit=ctx.close[0] * 1.002)
            ctx.order_target("MSFT", 100 + n, time_in_force="CLS")
        if n % 7 == 0:
            ctx.order("IBM", -9, time_in_force="OPG")""",
    )
    status, out, err = engine(portfolio("a", "{name: drop}"))
    assert status == 0, err
    figures = json.loads(out)["portfolios"]["a"]
    assert figures["trades"] > 50
    assert {"not reached"} <= set(figures["unfilled"])


@pytest.mark.parametrize("name", ["sma_cross", "sma_cross_on_bar", "mean_reversion"])
def test_a_part_of_the_volume(engine, name):
    cap = ("--set", "broker.params.volume_cap=0.00001")
    status, out, err = engine(portfolio("a", STRATEGIES[name]), *cap)
    assert status == 0, err
    assert json.loads(out)["portfolios"]["a"]["unfilled"]["volume cap"] > 2


def test_orders_that_a_bars_volume_leaves_a_rest_of(engine, tmp_path):
    drop_in(
        tmp_path,
        """n = ctx.state["n"] = ctx.state.get("n", 0) + 1
        if n % 5 == 0:
            ctx.order("AAPL", 300, time_in_force="GTC")
            ctx.order("IBM", 200, limit=ctx.close[1] * 0.995, time_in_force="GTC")
        if n % 7 == 0:
            ctx.order("IBM", -90, stop=ctx.close[1] * 0.99, time_in_force="GTC")
            ctx.order("MSFT", 500, time_in_force="CLS")
        if n % 23 == 0:
            ctx.cancel("AAPL")
            ctx.exit("MSFT")""",
    )
    more = ("--set", "broker.params.volume_cap=0.000005", "--set", "portfolios.0.cash=10000000")
    status, out, err = engine(portfolio("a", "{name: drop}"), *more)
    assert status == 0, err
    figures = json.loads(out)["portfolios"]["a"]
    assert figures["trades"] > 60
    assert {"volume cap", "cancelled"} <= set(figures["unfilled"])


RULES = """\
    risk:
      - {name: restricted, params: {tickers: [IBM]}}
      - {name: max_weight, params: {limit: 0.25}}
      - {name: max_gross, params: {limit: 0.6}}
      - {name: max_order_notional, params: {limit: 20000}}
"""


def test_risk_rules_leave_the_same(engine):
    status, out, err = engine(portfolio("a", STRATEGIES["mean_reversion"], RULES))
    assert status == 0, err
    figures = json.loads(out)["portfolios"]["a"]
    assert figures["trades"] > 10
    reasons = {reason.split(":")[0] for reason in figures["unfilled"]}
    assert {"max_weight", "max_order_notional", "restricted"} <= reasons


@pytest.mark.parametrize("name", ["mean_reversion", "sma_cross", "sma_cross_on_bar"])
def test_a_drawdown_rule_halts_both_at_the_same_bar(engine, name):
    rules = "    risk:\n      - {name: max_drawdown, params: {limit: 0.005}}\n"
    status, out, err = engine(portfolio("a", STRATEGIES[name], rules))
    assert status == 0, err
    assert "halted on 2010-" in err + out


def test_what_a_strategy_hides_on_itself_makes_a_difference_and_is_found(engine, tmp_path):
    drop_in(
        tmp_path,
        """self.n = getattr(self, "n", 0) + 1
        if self.n == 20:
            ctx.order("AAPL", 10)""",
    )
    status, _, err = engine(portfolio("a", "{name: drop}"))
    assert status == 1
    assert "portfolio a: replay and backtest differ in the number of trades" in err
    assert "ctx.state" in err


@pytest.fixture
def audited(monkeypatch):
    """What the audit says of the books of each replay, before they are compared and dropped."""
    proven = []
    compare = replay.compare

    def and_audit(pool, backtest):
        proven.extend(audit(pool, [backtest.portfolio_id]).portfolios)
        return compare(pool, backtest)

    monkeypatch.setattr(replay, "compare", and_audit)
    return proven


def test_the_books_of_a_replay_prove_themselves(engine, audited):
    status, _, err = engine(portfolio("a", STRATEGIES["mean_reversion"]))
    assert status == 0, err
    assert [(found.findings, found.trades > 5) for found in audited] == [((), True)]


def schemas(database):
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'replay\\_%'")
        found = [row[0] for row in cursor.fetchall()]
    connection.close()
    return found


def test_kept_books_can_be_looked_at_and_dropped(engine, database, monkeypatch, capfd):
    status, out, err = engine(portfolio("a", STRATEGIES["sma_cross"]), "--keep")
    assert status == 0, err
    (name,) = schemas(database)
    said = next(line for line in err.splitlines() if line.startswith("Replay: schema"))
    assert f"PGOPTIONS='-c search_path={name},public' psql" in said
    monkeypatch.setenv("PGOPTIONS", f"-c search_path={name},public")
    assert run_command(("report", "--portfolio", "a", "--json", "--config", "c.yaml")) == 0
    report, summary = json.loads(capfd.readouterr().out), json.loads(out)["portfolios"]["a"]
    assert report["mode"] == "replay"
    assert report["trades"] == summary["trades"]
    assert float(report["final_equity"]) == pytest.approx(summary["final_equity"], abs=0.01)
    assert run_command(("audit", "--config", "c.yaml")) == 0
    monkeypatch.delenv("PGOPTIONS")
    drop = said.rpartition("-c '")[2].rstrip("'")
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(drop)
    connection.close()
    assert schemas(database) == []


def test_nothing_is_kept_unasked(engine, database):
    assert engine(portfolio("a", STRATEGIES["buy_and_hold"]))[0] == 0
    assert schemas(database) == []


@pytest.mark.parametrize("mode", ["backtest", "paper"])
def test_other_modes_have_nothing_to_keep(engine, mode):
    status, out, err = engine(portfolio("a", STRATEGIES["buy_and_hold"]), "--keep", "--set", f"mode={mode}")
    assert (status, out) == (2, "")
    assert f"--keep keeps the scratch schema of a replay; c.yaml has mode {mode}, which makes none" in err
