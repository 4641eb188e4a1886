"""The demo, recomputed: every number of its summary from trades.csv and the sample's own file, by other means."""

from __future__ import annotations

import csv
import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest

from framework.cli.main import run_command

ROOT = Path(__file__).parents[1]
SAMPLE = next((ROOT / "plugins" / "data_sources" / "sample").glob("*.csv.gz"))


@pytest.fixture(scope="module")
def prices():
    """Open, close, and what a share of the day before became, by (ticker, date): straight from the file, as traded.

    The last is the return of Adj Close over that of Close, which knows nothing of our splits and dividends.
    """
    found, before = {}, {}
    with gzip.open(SAMPLE, "rt") as file:
        for row in csv.DictReader(file):
            close, adjusted = float(row["Close"]), float(row["Adj Close"])
            old_close, old_adjusted = before.get(row["Ticker"], (close, adjusted))
            grown = (adjusted / old_adjusted) / (close / old_close)
            found[row["Ticker"], row["Date"]] = (float(row["Open"]), close, grown)
            before[row["Ticker"]] = close, adjusted
    return found


@pytest.fixture
def demo(database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = (ROOT / "configs" / "demo.yaml").read_text().replace("url: embedded", f"url: {database}")
    (tmp_path / "demo.yaml").write_text(config)
    assert run_command(("run", "demo.yaml", "--json", "--out", "out")) == 0
    return tmp_path / "out"


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_reader_can_recompute_the_summary(demo, prices):
    summary = json.loads((demo / "summary.json").read_text())
    total = Decimal(0)
    for name, figures in summary["portfolios"].items():
        trades, equity = rows_of(demo / name / "trades.csv"), rows_of(demo / name / "equity.csv")
        assert figures["trades"] == len(trades) > 0
        assert figures["bars"] == len(equity) == 2054
        cash, held, fees = Decimal(1_000_000), {}, Decimal(0)
        by_day, acts = {}, {}
        for trade in trades:
            by_day.setdefault(trade["exec_timestamp"][:10], []).append(trade)
        for act in rows_of(demo / name / "actions.csv"):
            acts.setdefault(act["timestamp"][:10], []).append(act)
        for row in equity:
            day = row["timestamp"][:10]
            # Every share that became more than one, and no other, had a dividend or a split.
            grown = {ticker for ticker in held if held[ticker] and abs(prices[ticker, day][2] - 1) > 2e-4}
            assert grown == {act["ticker"] for act in acts.get(day, [])}
            for act in acts.pop(day, []):
                ticker, value = act["ticker"], Decimal(act["value"])
                assert Decimal(act["held"]) == held[ticker]
                if act["kind"] == "split":
                    assert prices[ticker, day][2] == pytest.approx(float(value), rel=1e-3)
                    assert Decimal(act["change"]) == held[ticker] * (value - 1)
                    held[ticker] *= value
                else:
                    assert prices[ticker, day][2] == pytest.approx(1 + float(value) / prices[ticker, day][1], rel=1e-3)
                    assert Decimal(act["cash"]) == held[ticker] * value
                    cash += Decimal(act["cash"])
            for trade in by_day.pop(day, []):
                sign = 1 if trade["side"] == "BUY" else -1
                quantity, price = Decimal(trade["quantity"]), Decimal(trade["exec_price"])
                opening = prices[trade["ticker"], day][0]
                # One basis point worse than the open, and five for the broker.
                assert float(price) == pytest.approx(opening * (1 + sign * 0.0001), rel=1e-6)
                assert Decimal(trade["notional"]) == quantity * price
                assert float(trade["fees"]) == pytest.approx(float(trade["notional"]) * 0.0005, abs=1e-6)
                cash -= sign * Decimal(trade["notional"]) + Decimal(trade["fees"])
                held[trade["ticker"]] = held.get(trade["ticker"], 0) + sign * quantity
                fees += Decimal(trade["fees"])
            assert Decimal(row["cash"]) == cash
            worth = sum(float(shares) * prices[ticker, day][1] for ticker, shares in held.items() if shares)
            assert float(row["equity"]) == pytest.approx(float(cash) + worth, rel=1e-9)
        assert not by_day
        assert not acts
        assert figures["fees"] == float(fees)
        assert figures["final_equity"] == pytest.approx(float(equity[-1]["equity"]), abs=1e-6)
        assert figures["total_return"] == pytest.approx(float(equity[-1]["equity"]) / 1e6 - 1)
        total += Decimal(equity[-1]["equity"])
    assert summary["total"]["final_equity"] == pytest.approx(float(total))
    assert summary["prices"] == "traded"


def test_a_split_shows_no_loss(demo):
    """AAPL fell from 88.99 to 44.86 on 2005-02-28, for twice the shares."""
    rows = {row["timestamp"][:10]: float(row["equity"]) for row in rows_of(demo / "3" / "equity.csv")}
    assert rows["2005-02-28"] / rows["2005-02-25"] == pytest.approx(1, abs=0.02)


def test_a_rerun_leaves_the_same_bytes(demo, tmp_path):
    assert run_command(("run", "demo.yaml", "--json", "--out", "again")) == 0
    names = sorted(path.relative_to(demo) for path in demo.rglob("*.csv"))
    assert len(names) > 20
    for name in names:
        assert (demo / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
