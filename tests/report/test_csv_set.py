import csv
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.model.panel import forward_fill
from framework.model.rates import Rates
from framework.report.assemble import accounts
from framework.report.csv_set import TABLES, write_csv_set
from framework.report.tables import Column, exact, moment, money, quantity, quoted, ratio, table_text

TRADE_COLUMNS = """
id portfolio_id ticker exec_timestamp side quantity arrival_price exec_price slippage_bps notional notional_local
currency fx_rate kind fees execution_id order_id for_ticker decision_price decision_bar
"""


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def written(tmp_path):
    def write(account, name="set"):
        folder = tmp_path / name
        folder.mkdir()
        write_csv_set(account, folder)
        return folder

    return write


def replay(rows, result):
    """Equity at each bar from trades.csv and closes alone, in Decimal."""
    close = forward_fill(result.panel.close)
    label = {f"{t}Z": i for i, t in enumerate(result.timeline.opens.astype("datetime64[s]").astype(str))}
    cash, todo = Decimal(str(result.opening_cash)), list(rows)
    held: dict[str, Decimal] = {}
    for t in range(result.first, result.first + result.bars):
        while todo and label[todo[0]["exec_timestamp"]] == t:
            row = todo.pop(0)
            sign = 1 if row["side"] == "BUY" else -1
            cash -= sign * Decimal(row["notional"]) + Decimal(row["fees"])
            held[row["ticker"]] = held.get(row["ticker"], 0) + sign * Decimal(row["quantity"])
        worth = sum(q * Decimal(float(close[t, result.panel.tickers.index(k)])) for k, q in held.items())
        yield cash, cash + worth
    assert not todo


@pytest.mark.parametrize(
    "options", [{}, {"gaps": 0.1}, {"first": 40}, {"per_session": 30, "every": 7}, {"lot": 1e-9, "cash": 1e9}]
)
def test_equity_can_be_recomputed_from_trades_and_prices(written, build_run, build_result, options):
    result = build_result(**options)
    folder = written(accounts(build_run(result)).total)
    curve = read(folder / "equity.csv")
    assert len(curve) == result.bars
    for row, (cash, equity) in zip(curve, replay(read(folder / "trades.csv"), result), strict=True):
        assert Decimal(row["cash"]) == cash
        assert abs(Decimal(row["equity"]) - equity) <= abs(equity) * Decimal("1e-15") + Decimal("1e-6")


def test_trades_have_the_columns_of_the_log_and_the_fill_bars_open(written, build_run, build_result):
    result = build_result(per_session=30)
    row = read(written(accounts(build_run(result)).total) / "trades.csv")[0]
    assert list(row) == TRADE_COLUMNS.split()
    assert row["id"] == "1"
    assert row["exec_timestamp"] == "2005-01-03T14:31:00Z"
    assert row["decision_bar"] == "2005-01-03T14:30:00Z"
    assert (row["currency"], row["fx_rate"], row["kind"]) == ("USD", "1", "trade")
    assert Decimal(row["notional"]) == Decimal(row["quantity"]) * Decimal(row["exec_price"])


def test_slippage_is_positive_where_the_fill_was_worse(written, build_run, build_result):
    rows = read(written(accounts(build_run(build_result())).total) / "trades.csv")
    assert {row["side"] for row in rows} == {"BUY", "SELL"}
    for row in rows:
        assert float(row["slippage_bps"]) == pytest.approx(1.0, abs=0.01)


def test_other_currencies_are_converted_and_their_prices_are_not(written, build_run, build_result):
    """The same fills, of a portfolio in which the second ticker is in another currency."""
    result = build_result(bars=60)
    rate = np.ones(result.panel.close.shape)
    rate[:, 1] = np.linspace(0.9, 1.1, 60)
    trades = result.trades
    rates = rate[trades.filled, trades.ticker]
    notional = np.rint(trades.notional * rates * 1e6) / 1e6
    changed = replace(trades, notional=notional, notional_local=trades.notional, fx_rate=rates)
    currencies = ("USD", "EUR", "USD")
    result = replace(result, trades=changed, rates=Rates(rate, rate.copy()), currencies=currencies)
    account = accounts(build_run(result)).total
    folder = written(account)
    for row in read(folder / "trades.csv"):
        assert row["currency"] == ("EUR" if row["ticker"] == "MSFT" else "USD")
        assert (row["fx_rate"] == "1") == (row["currency"] == "USD")
        converted = Decimal(row["notional_local"]) * Decimal(row["fx_rate"])
        assert abs(Decimal(row["notional"]) - converted) <= Decimal("0.000001")
    close = forward_fill(result.panel.close)
    for row in read(folder / "positions.csv"):
        at = int(np.flatnonzero(result.timeline.timestamps == np.datetime64(row["timestamp"][:-1]))[0])
        column = result.panel.tickers.index(row["ticker"])
        assert float(row["price"]) == pytest.approx(close[at, column], abs=1e-6)
        worth = float(row["quantity"]) * close[at, column] * rate[at, column]
        assert float(row["value"]) == pytest.approx(worth, rel=1e-9)
    assert account.closes[:, 1] == pytest.approx(close[:, 1] * rate[:, 1])


@pytest.mark.parametrize(
    ("rate", "cell"), [(1.0, "1"), (1.0875, "1.0875"), (6.66e-06, "0.00000666"), (1 / 3, repr(1 / 3)), (150.0, "150")]
)
def test_rates_are_written_exactly(rate, cell):
    assert exact(np.array([rate])) == [cell]


def test_positions_follow_from_trades(written, build_run, build_result):
    results = [build_result(), build_result(("GOOG", "AAPL"), portfolio_id="2", seed=9)]
    folder = written(accounts(build_run(*results)).total)
    held: dict[str, Decimal] = {}
    wanted: dict[tuple[str, str], Decimal] = {}
    for row in read(folder / "trades.csv"):
        change = Decimal(row["quantity"]) * (1 if row["side"] == "BUY" else -1)
        held[row["ticker"]] = held.get(row["ticker"], 0) + change
        wanted[row["exec_timestamp"][:10], row["ticker"]] = held[row["ticker"]]
    rows = read(folder / "positions.csv")
    got = {(row["timestamp"][:10], row["ticker"]): Decimal(row["quantity"]) for row in rows}
    assert got == wanted
    assert len(rows) == len(got)
    assert [row["timestamp"] for row in rows] == sorted(row["timestamp"] for row in rows)
    for row in rows:
        assert float(row["value"]) == pytest.approx(float(row["quantity"]) * float(row["price"]), rel=1e-7)


def test_two_writings_are_the_same_bytes(written, build_run, build_result):
    made = [written(accounts(build_run(build_result(gaps=0.05))).total, name) for name in ("a", "b")]
    for name in TABLES:
        content = (made[0] / name).read_bytes()
        assert content == (made[1] / name).read_bytes()
        assert b"\r" not in content
        assert b"nan" not in content.lower()
        assert b"-0.000000," not in content


def test_without_trades_or_benchmark_tables_have_headers_only(written, build_run, build_result):
    folder = written(accounts(build_run(build_result(every=0), benchmark=False)).total)
    for name in ("trades.csv", "positions.csv", "unfilled.csv", "benchmark.csv"):
        assert len((folder / name).read_text().splitlines()) == 1
    assert {row["return"] for row in read(folder / "returns_monthly.csv")} == {"0.0000000000"}
    assert {row["sharpe_30"] for row in read(folder / "rolling.csv")} == {""}


def test_one_bar(written, build_run, build_result):
    folder = written(accounts(build_run(build_result(bars=1))).total)
    assert [row["equity"] for row in read(folder / "equity.csv")] == ["1000000.000000"]
    assert [row["volatility"] for row in read(folder / "risk.csv")] == ["", "", ""]


def test_unfilled_names_the_reason(written, build_run, build_result):
    result = build_result(gaps=0.3)
    rows = read(written(accounts(build_run(result)).total) / "unfilled.csv")
    assert len(rows) == len(result.unfilled) > 0
    assert {row["reason"] for row in rows} == {"no bar"}
    assert float(rows[0]["quantity"]) == result.unfilled[0].quantity


def test_intraday_figures_are_of_sessions(written, build_run, build_result):
    result = build_result(per_session=30, bars=1200)
    folder = written(accounts(build_run(result)).total)
    assert len(read(folder / "rolling.csv")) == 40
    assert len(read(folder / "equity.csv")) == 1200


def test_rolling_and_risk_are_annualised_by_the_calendar(written, build_run, build_result):
    account = accounts(build_run(build_result(step="W", bars=105))).total
    folder = written(account)
    last = account.curve.returns[-30:]
    row = read(folder / "rolling.csv")[-1]
    assert float(row["volatility_30"]) == pytest.approx(np.std(last, ddof=1) * np.sqrt(52), abs=1e-9)
    assert float(row["sharpe_30"]) == pytest.approx(np.mean(last) / np.std(last, ddof=1) * np.sqrt(52), abs=1e-9)
    moves = account.closes[1:, 0] / account.closes[:-1, 0] - 1
    wanted = np.std(moves, ddof=1) * np.sqrt(52)
    assert float(read(folder / "risk.csv")[0]["volatility"]) == pytest.approx(wanted, abs=1e-9)


def test_monthly_returns_compound_to_the_whole(written, build_run, build_result):
    result = build_result()
    rows = read(written(accounts(build_run(result)).total) / "returns_monthly.csv")
    whole = np.prod([1 + float(row["return"]) for row in rows])
    assert whole == pytest.approx(result.equity[-1] / result.opening_cash, rel=1e-8)


def test_text_is_quoted_where_csv_needs_it(written, build_run, build_result):
    odd = ('A,"B', "C\nD")
    folder = written(accounts(build_run(build_result(odd))).total)
    assert {row["ticker"] for row in read(folder / "trades.csv")} <= set(odd)
    assert [row["ticker"] for row in read(folder / "risk.csv")] == list(odd)
    assert quoted("plain") == "plain"


@given(st.integers(-(10**15), 10**15))
@settings(max_examples=200, deadline=None)
def test_money_is_written_without_float_noise(millionths):
    assert Decimal(money(np.array([millionths / 1e6]))[0]) == Decimal(millionths) / 10**6


@given(st.integers(0, 10**15))
@settings(max_examples=200, deadline=None)
def test_quantities_are_short_and_exact(billionths):
    cell = quantity(np.array([billionths / 1e9]))[0]
    assert Decimal(cell) == Decimal(billionths) / 10**9
    assert cell == "0" or "." not in cell or not cell.endswith("0")


def test_odd_numbers_in_cells():
    assert money(np.array([-0.0, -1e-9, np.nan, np.inf])) == ["0.000000", "0.000000", "", ""]
    assert ratio(np.array([-1e-17])) == ["0.0000000000"]
    assert quantity(np.array([100.0, np.nan])) == ["100", ""]


def test_times_carry_a_fraction_only_where_there_is_one():
    whole = np.array(["2005-01-03T14:30"], dtype="datetime64[us]")
    assert moment(whole) == ["2005-01-03T14:30:00Z"]
    later = np.array(["2005-01-03T14:30:00.000005"], dtype="datetime64[us]")
    assert moment(later) == ["2005-01-03T14:30:00.000005Z"]


def test_long_tables_come_in_blocks(monkeypatch):
    monkeypatch.setattr("framework.report.tables.CHUNK_ROWS", 3)
    blocks = list(table_text([Column("a", np.arange(7.0), money)]))
    assert len(blocks) == 4
    assert "".join(blocks).split() == ["a", *(f"{i}.000000" for i in range(7))]
