"""Paper trading on a simulated clock ends as the backtest at prices as traded does, also when it is stopped halfway."""

from __future__ import annotations

import csv
import json
from datetime import date
from decimal import Decimal

import psycopg2
import pytest

from framework.books.audit import audit
from framework.cli.main import run_command
from framework.db.pool import Pool
from tests.prices import write_prices

COMMON = """\
name: parity
data_source: {name: csv, params: {path: prices.csv, name: parity}}
adjust: none
portfolios:
"""
COSTS = "params: {commission: {name: percent, rate: 0.0005}, slippage: {name: bps, bps: 1}}"
# A paper portfolio decides at its start on the last bar before, if that decision is still valid; so the backtest starts
# one session earlier.
BACKTEST = f"mode: backtest\nstart: 2009-12-31\nend: 2010-04-30\nbroker: {{name: simulated, {COSTS}}}\n"
PAPER = f"""mode: paper
clock: {{start: 2010-01-04, end: 2010-04-30, seconds_per_day: 0}}
engine: {{lease_seconds: 3, send_timeout_seconds: 1}}
broker: {{name: paper, {COSTS}}}
"""
STRATEGIES = {
    "buy_and_hold": "{name: buy_and_hold}",
    "sma_cross": "{name: sma_cross, params: {fast: 3, slow: 8}}",
    "sma_cross_on_bar": "{name: sma_cross_on_bar, params: {fast: 3, slow: 8}}",
    "momentum": "{name: momentum, params: {lookback: 40, skip: 5}}",
    "mean_reversion": "{name: mean_reversion, params: {period: 10, entry: 1.0}}",
}


def portfolio(name, lots):
    schedule = "    schedule: weekly\n" if name == "momentum" else ""
    return (
        f"  - id: {name}\n    cash: 100000\n    tickers: [AAPL, IBM, MSFT]\n    lookback: 60\n    lots: {lots}\n"
        f"    strategy: {STRATEGIES[name]}\n{schedule}"
    )


@pytest.fixture
def workspace(tmp_path, database, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    write_prices(tmp_path / "prices.csv", ["AAPL", "IBM", "MSFT"], date(2009, 6, 1), date(2010, 6, 30))

    def run(mode, portfolios, *arguments):
        (tmp_path / "c.yaml").write_text(mode + COMMON + portfolios)
        status = run_command(("run", "c.yaml", "--json", *arguments))
        out, err = capfd.readouterr()
        assert status == 0, err
        return json.loads(out), err

    return run


def booked(database, name):
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT ticker, exec_timestamp::date::text, side, quantity, exec_price FROM trade_execution_logs "
            "WHERE portfolio_id = %s AND kind = 'trade' ORDER BY id",
            (name,),
        )
        rows = cursor.fetchall()
    connection.close()
    return [(ticker, day, side, Decimal(quantity), Decimal(price)) for ticker, day, side, quantity, price in rows]


def backtested(folder):
    with (folder / "trades.csv").open() as file:
        return [
            (
                row["ticker"],
                row["exec_timestamp"][:10],
                row["side"],
                Decimal(row["quantity"]),
                Decimal(row["exec_price"]),
            )
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("lots", ["whole", "fractional"])
def test_every_bundled_strategy_at_once(workspace, tmp_path, database, lots):
    portfolios = "".join(portfolio(name, lots) for name in STRATEGIES)
    expected, _ = workspace(BACKTEST, portfolios, "--out", "out")
    found, _ = workspace(PAPER, portfolios)
    for name in STRATEGIES:
        trades = backtested(tmp_path / "out" / name)
        assert len(trades) > 2
        assert booked(database, name) == trades
        equity = Decimal(found["portfolios"][name]["equity"])
        assert abs(equity - Decimal(repr(expected["portfolios"][name]["final_equity"]))) < Decimal("0.01")


def test_a_run_in_three_parts_is_one_run(workspace, tmp_path, database):
    portfolios = portfolio("mean_reversion", "whole") + portfolio("momentum", "whole")
    workspace(BACKTEST, portfolios, "--out", "out")
    parts = [workspace(PAPER, portfolios, "--set", f"clock.end={day}") for day in ("2010-02-01", "2010-03-15")]
    assert "Opened portfolio momentum with 100,000.00 USD" in parts[0][1]
    assert "Opened" not in parts[1][1]
    found, _ = workspace(PAPER, portfolios)
    for name in ("mean_reversion", "momentum"):
        assert booked(database, name) == backtested(tmp_path / "out" / name)
    pool = Pool(database)
    assert [each.findings for each in audit(pool).portfolios] == [(), ()]
    pool.close()
    again, _ = workspace(PAPER, portfolios)
    assert again["portfolios"]["momentum"]["equity"] == found["portfolios"]["momentum"]["equity"]
    assert again["portfolios"]["momentum"]["trades"] == 0


def test_the_cash_of_a_config_is_only_for_empty_books(workspace, database):
    portfolios = portfolio("buy_and_hold", "whole")
    first, said = workspace(PAPER, portfolios, "--set", "clock.end=2010-01-08")
    assert "Opened portfolio buy_and_hold with 100,000.00 USD" in said
    again, said = workspace(PAPER, portfolios, "--set", "clock.end=2010-01-08", "--set", "portfolios.0.cash=5")
    assert "Note: portfolio buy_and_hold was opened with 100,000.00 and keeps its books; cash: 5.00" in said
    assert again["portfolios"]["buy_and_hold"]["equity"] == first["portfolios"]["buy_and_hold"]["equity"]
