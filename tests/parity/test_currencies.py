"""Portfolios of several currencies: replay and paper trading end as the backtest does, and the books add up."""

from __future__ import annotations

import csv
import json
from decimal import Decimal

import numpy as np
import pytest

from framework.books.audit import audit
from framework.cli.main import run_command
from framework.db.pool import Pool
from tests.parity.test_paper import backtested, booked
from tests.parity.test_replay import STRATEGIES, drop_in

CURRENCIES = "{SAP: EUR, NESN: CHF}"
COSTS = "params: {commission: {name: percent, rate: 0.0005, minimum: 1}, slippage: {name: bps, bps: 1}}"
COMMON = f"name: parity\ndata_source: {{name: csv, params: {{path: prices, name: fx, currencies: {CURRENCIES}}}}}\n"
REPLAY = f"mode: replay\nstart: 2010-01-04\nend: 2010-04-30\nbroker: {{name: simulated, {COSTS}}}\n"
#: Pairs: of euros direct for dollars, inverse for euros; of francs the other way round.
PRICES = {"ACME": 50.0, "SAP": 35.0, "NESN": 44.0, "EURUSD": 1.4, "USDCHF": 1.05, "EURCHF": 1.47}
#: Days without a bar of EURUSD.
HOLE = ("2010-02-08", "2010-02-16")


def write_prices(folder, hole=HOLE, fx_from="2009-10-01"):
    """Random walks, a file for each ticker; stocks from October 2009, rates from a day on."""
    folder.mkdir()
    days = np.arange("2009-10-01", "2010-05-15", dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    for seed, (ticker, start) in enumerate(PRICES.items()):
        rng = np.random.default_rng(seed)
        is_fx = len(ticker) == 6
        closes = start * np.exp(np.cumsum(rng.normal(0, 0.006 if is_fx else 0.02, len(days))))
        opens = closes * np.exp(rng.normal(0, 0.004, len(days)))
        rows = np.column_stack([opens, np.maximum(opens, closes) * 1.003, np.minimum(opens, closes) * 0.997, closes])
        lines = ["timestamp,open,high,low,close,volume"]
        for day, prices in zip(days.astype(str), rows, strict=True):
            is_missing = is_fx and (day < fx_from or (ticker == "EURUSD" and hole[0] <= day <= hole[1]))
            if not is_missing:
                lines.append(f"{day},{','.join(f'{price:.6f}' for price in prices)},1000")
        (folder / f"{ticker}.csv").write_text("\n".join(lines) + "\n")


def portfolio(currency, strategy, extra=""):
    return (
        f"portfolios:\n  - id: a\n    cash: 100000\n    currency: {currency}\n    tickers: [ACME, SAP, NESN]\n"
        f"    lookback: 40\n    strategy: {strategy}\n{extra}"
    )


@pytest.fixture
def engine(tmp_path, database, monkeypatch, capfd):
    """Runs a config on a fresh database; gives (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    (tmp_path / "plugins").mkdir()

    def run(text, *arguments):
        if not (tmp_path / "prices").exists():
            write_prices(tmp_path / "prices")
        (tmp_path / "c.yaml").write_text(text)
        status = run_command(("--debug", "run", "c.yaml", "--json", *arguments))
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def replayed(engine, monkeypatch, tmp_path):
    """Replays a portfolio, proves its books, and gives the summary and the trades."""
    from framework.engine import replay

    findings, compare = [], replay.compare

    def and_audit(pool, backtest):
        findings.extend(finding for each in audit(pool).portfolios for finding in each.findings)
        return compare(pool, backtest)

    monkeypatch.setattr(replay, "compare", and_audit)

    def run(text):
        status, out, err = engine(REPLAY + COMMON + text, "--out", "out")
        assert status == 0, err
        assert "portfolio a ends as the backtest does" in err
        assert findings == []
        with (tmp_path / "out" / "a" / "trades.csv").open() as file:
            return json.loads(out), list(csv.DictReader(file))

    return run


@pytest.mark.parametrize(
    ("currency", "name", "lots"),
    [("USD", "sma_cross", "whole"), ("EUR", "mean_reversion", "fractional"), ("CHF", "sma_cross_on_bar", "fractional")],
)
def test_replay_in_every_currency(replayed, currency, name, lots):
    summary, trades = replayed(portfolio(currency, STRATEGIES[name], f"    lots: {lots}\n"))
    assert summary["portfolios"]["a"]["currency"] == currency
    assert len(trades) > 5
    own = {"ACME": "USD", "SAP": "EUR", "NESN": "CHF"}
    assert {row["ticker"]: row["currency"] for row in trades} == own
    for row in trades:
        local, rate = Decimal(row["notional_local"]), Decimal(row["fx_rate"])
        assert (rate == 1) == (own[row["ticker"]] == currency)
        assert Decimal(row["notional"]) == (local * rate).quantize(Decimal("1e-6"))


def test_a_currency_without_a_pair_is_refused_by_name(engine):
    status, _, err = engine(REPLAY + COMMON + portfolio("JPY", "buy_and_hold"))
    assert status == 2
    assert "c.yaml:11: portfolios.0.tickers: portfolio a is in JPY and its ticker ACME in USD" in err
    assert "has neither USDJPY (JPY per USD) nor JPYUSD" in err


def test_orders_with_prices_and_rules_in_another_currency(replayed, tmp_path):
    drop_in(
        tmp_path,
        """n = ctx.state["n"] = ctx.state.get("n", 0) + 1
        close = ctx.close
        if n == 1:
            ctx.log.info("%s", ctx.share_values)
        for column, ticker in enumerate(ctx.tickers):
            if n % 3 == column:
                ctx.order(ticker, 300, limit=close[column] * (1.04 if n % 2 else 0.99), time_in_force="GTC")
                if ctx.positions[column] > 0:
                    ctx.order(ticker, -int(ctx.positions[column]), stop=close[column] * 0.97, time_in_force="GTC")
            elif n % 7 == column:
                ctx.order_target(ticker, int(0.1 * ctx.equity / ctx.share_values[column]))
            elif n % 11 == column:
                ctx.target_weights({ticker: 1.5})""",
    )
    rules = """    risk:
      - {name: price_collar, params: {percent: 3}}
      - {name: max_weight, params: {limit: 0.3}}
      - {name: max_order_notional, params: {limit: 9000}}
"""
    summary, trades = replayed(portfolio("EUR", "{name: drop}", rules))
    assert len(trades) > 20
    assert {"price_collar", "max_order_notional", "max_weight"} <= set(summary["portfolios"]["a"]["unfilled"])
    notionals = [float(row["notional"]) for row in trades if row["ticker"] == "NESN" and row["side"] == "BUY"]
    assert sum(8500 < notional <= 9000 for notional in notionals) > 3  # the limit is one of euros


def test_a_rate_is_the_last_that_was_known_and_a_hole_is_told_of(replayed, tmp_path):
    summary, trades = replayed(portfolio("USD", "{name: sma_cross, params: {fast: 2, slow: 5}}"))
    assert any("EURUSD: at 4 bars the newest rate was older than 5 days, up to 11" in note for note in summary["notes"])
    with (tmp_path / "prices" / "EURUSD.csv").open() as file:
        closes = {row["timestamp"]: row["close"] for row in csv.DictReader(file)}
    seen = set()
    for row in trades:
        day = row["exec_timestamp"][:10]
        if row["currency"] == "EUR":
            newest = max(known for known in closes if known < day)  # this day's is known at 17:00 New York
            assert Decimal(row["fx_rate"]) == Decimal(closes[newest])
            seen.add(HOLE[0] < day <= HOLE[1])
    assert seen == {True, False}


def test_nothing_is_traded_before_there_is_a_rate(replayed, tmp_path):
    write_prices(tmp_path / "prices", fx_from="2010-02-10")
    summary, trades = replayed(portfolio("USD", STRATEGIES["buy_and_hold"], "    adopt_signal: true\n"))
    assert summary["portfolios"]["a"]["unfilled"]["no fx rate"] > 1
    assert "EURUSD has no rate up to 2010-02-17: what is in EUR could not be traded before" in summary["notes"]
    assert {row["ticker"] for row in trades if row["exec_timestamp"] < "2010-02-11"} == {"ACME"}


def test_paper_trading_ends_as_the_backtest_in_three_parts(engine, tmp_path, database):
    backtest = f"mode: backtest\nstart: 2009-12-31\nend: 2010-04-30\nbroker: {{name: simulated, {COSTS}}}\n"
    paper = f"""mode: paper
clock: {{start: 2010-01-04, end: 2010-04-30, seconds_per_day: 0}}
engine: {{lease_seconds: 3, send_timeout_seconds: 1}}
broker: {{name: paper, {COSTS}}}
"""
    text = COMMON + "adjust: none\n" + portfolio("EUR", STRATEGIES["mean_reversion"], "    lots: fractional\n")
    status, out, err = engine(backtest + text, "--out", "out")
    assert status == 0, err
    expected = json.loads(out)["portfolios"]["a"]
    for day in ("2010-02-01", "2010-02-12", "2010-04-30"):
        status, out, err = engine(paper + text, "--set", f"clock.end={day}")
        assert status == 0, err
    found = json.loads(out)["portfolios"]["a"]
    assert booked(database, "a") == backtested(tmp_path / "out" / "a")
    assert len(booked(database, "a")) > 5
    assert abs(Decimal(found["equity"]) - Decimal(repr(expected["final_equity"]))) < Decimal("0.01")
    pool = Pool(database)
    (proof,) = audit(pool).portfolios
    assert (proof.findings, proof.currency) == ((), "EUR")
    pool.close()
