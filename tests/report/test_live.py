"""The report from live books: what a period holds, that it adds up, and that it says what a backtest would."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from rich.console import Console

from framework.books.entries import Adopt
from framework.books.ledger import book
from framework.books.lots import Lots, Mark
from framework.books.valuation import value
from framework.errors import DataError, UsageError
from framework.report import metrics
from framework.report.live import Held
from framework.report.live_reading import read_live_report
from framework.report.live_view import document, show_live
from framework.report.write import write_live
from framework.report_run import report_live
from tests.books.cases import AT, D, ask, cash, fill, open_, transfer

FIRST = date(2024, 1, 2)


@pytest.fixture
def books(pool):
    """Portfolio 1 on three days: 10000 in, 10 AAPL bought; 1000 more in; 500 out and 4 AAPL sold."""
    open_(pool, "1", "2")
    lots = Lots()
    days = [
        ([cash("10000"), fill(quantity="10", price="100", fees="1", arrival_price=D("99.5"))], "110"),
        ([cash("1000", key="c2"), cash("7", kind="dividend", key="d", for_ticker="AAPL")], "99"),
        ([cash("-500", kind="withdrawal", key="c3"), fill(key="f2", side="SELL", quantity="4", price="120")], "121"),
    ]
    for number, (entries, close) in enumerate(days):
        bar = datetime(2024, 1, 2 + number, tzinfo=UTC)
        ask(
            pool,
            "INSERT INTO market_data (ticker, timestamp, open_price, high_price, low_price, close_price, volume, "
            "bar_interval, source) VALUES ('AAPL', %s, 100, 200, 50, %s, 1, '1d', 'sample') RETURNING 1",
            bar,
            D(close),
        )
        book(pool, entries, bar + timedelta(hours=21))
        value(pool, "1", {"AAPL": Mark(D(close))}, lots, bar + timedelta(hours=21), bar)
    return pool


def reported(pool, start=None, until=None):
    """The books' report, the account made from it, and what is told of both."""
    found = report_live(pool, "1", start, until)
    return found.report, found.made.total, document(found.report, found.made, found.basis)


def test_the_whole_life(books):
    report, account, found = reported(books)
    assert (found["start"], found["end"], found["valuations"]) == ("2024-01-02", "2024-01-04", 3)
    assert (report.before.equity, report.money_in, report.money_out) == (0, 11000, 500)
    assert [report.gained(part) for part in ("notional", "realised", "unrealised", "income", "costs")] == [
        D(value) for value in ("211", "80", "126", "7", "2")
    ]  # fmt: skip
    assert report.end.equity == D("10711")
    assert (report.fees, report.slippage, len(report.trades)) == (2, 5, 2)
    assert (D(found["dividends"]), found["splits"], found["total"]["dividends"]) == (7, 0, 7.0)
    first, second = 10099 / 10000, (10000 - 1001 + 1000 + 7 + 990) / (10099 + 1000)
    index = metrics.return_index(account.curve.returns)
    assert index == pytest.approx([first, first * second, first * second * 10711 / (10996 - 500)])
    assert found["total_return"] == pytest.approx(index[-1] - 1)
    assert found["max_drawdown"] == pytest.approx(second - 1)
    assert report.cash == D("9985")
    assert report.positions == (Held("AAPL", D(6), D(121), D(726)),)
    assert report.notes == ()


def test_a_part_of_it_begins_where_the_day_before_ended(books):
    report, account, _ = reported(books, FIRST + timedelta(days=1), FIRST + timedelta(days=1))
    assert (report.before.equity, report.money_in, report.money_out) == (D("10099"), 1000, 0)
    assert report.gained("notional") == report.end.equity - D("11099") == D("-103")
    assert report.trades == ()
    assert account.curve.returns + 1 == pytest.approx([10996 / 11099])
    assert report.positions == (Held("AAPL", D(10), D(99), D(990)),)
    whole = reported(books)[1].curve.returns
    assert reported(books, until=FIRST)[1].curve.returns == pytest.approx(whole[:1])


def test_it_always_adds_up(books):
    for first in range(3):
        for last in range(first, 4):
            days = [FIRST + timedelta(days=number) for number in (first, last)]
            report = read_live_report(books, "1", *days)
            change = report.money_in - report.money_out + report.gained("notional")
            assert report.before.equity + change == report.end.equity
            parts = [report.gained(part) for part in ("realised", "unrealised", "income", "costs")]
            assert sum(parts[:3]) - parts[3] == report.gained("notional")


def test_what_came_and_went_is_told_and_weighs_the_return(books):
    _, account, found = reported(books)
    assert [(flow["kind"], flow["amount"], flow["reference"]) for flow in found["flows"]] == [
        ("deposit", "10000.000000", "c1"),
        ("deposit", "1000.000000", "c2"),
        ("withdrawal", "-500.000000", "c3"),
    ]
    assert [D(found[name]) for name in ("deposits", "withdrawals", "transfers", "adopted")] == [11000, 500, 0, 0]
    # All three carry the time at which `cases.AT` says that they happened.
    days = (datetime(2024, 1, 4, 21, tzinfo=UTC) - AT) / timedelta(days=1)
    assert found["money_weighted_return"] == pytest.approx((10711 / 10500) ** (365.25 / days) - 1)
    second, account, _ = reported(books, FIRST + timedelta(days=1), FIRST + timedelta(days=1))
    assert [flow.amount for flow in second.flows] == [1000]
    assert account.money_weighted_return == pytest.approx((10996 / 11099) ** 365.25 - 1)


def test_transfers_and_adopted_shares_are_flows(books):
    at = datetime(2024, 1, 5, 21, tzinfo=UTC)
    adopted = Adopt(portfolio_id="1", key="a", at=at, session=at.date(), ticker="AAPL", quantity=D(3), cost=D("90.5"),
                    currency="USD")  # fmt: skip
    book(books, [transfer("2500"), adopted], at)
    value(books, "1", {"AAPL": Mark(D(121))}, Lots(), at, at)
    report, account, found = reported(books, date(2024, 1, 5))
    assert [(flow.kind, flow.amount) for flow in report.flows] == [("transfer", -2500), ("adopt", D("271.5"))]
    assert (D(found["transfers"]), D(found["adopted"])) == (D(-2500), D("271.5"))
    for first in range(4):
        part = read_live_report(books, "1", FIRST + timedelta(days=first))
        assert sum(flow.amount for flow in part.flows) == part.money_in - part.money_out
    assert account.curve.returns + 1 == pytest.approx([(10711 - 2500 + 3 * 121) / (10711 - 2500 + 271.5)])
    assert sum(account.contributions.values()) == pytest.approx(float(report.gained("notional")))


def test_money_that_moves_inside_a_day_cuts_its_return(books):
    """From 10,711 to 10,711 + 6 on the old money; then 100,000 come, and the fall that follows is of all of it."""
    lots = Lots()
    for hour, close, amount in ((15, "122", "100000"), (20, "60", None)):
        at = datetime(2024, 1, 5, hour, tzinfo=UTC)
        value(books, "1", {"AAPL": Mark(D(close))}, lots, at, at)
        if amount:
            book(books, [cash(amount, key="c9", at=at)], at + timedelta(minutes=1))
    account = reported(books, date(2024, 1, 5))[1]
    noon, evening = 9985 + 6 * 122, 9985 + 6 * 60 + 100000
    assert account.curve.returns + 1 == pytest.approx([noon / 10711 * evening / (noon + 100000)])
    assert account.curve.figures.max_drawdown == pytest.approx(account.curve.returns[0])


def test_several_valuations_of_a_day_make_one_return(books):
    lots = Lots()
    for minute, close in ((1, "80"), (2, "130")):
        bar = datetime(2024, 1, 5, 15, minute, tzinfo=UTC)
        value(books, "1", {"AAPL": Mark(D(close))}, lots, bar, bar)
    report, account, found = reported(books, date(2024, 1, 5))
    assert len(report.valuations) == 2
    assert account.curve.returns + 1 == pytest.approx([(9985 + 6 * 130) / 10711])
    assert found["max_drawdown"] == 0.0


def test_what_it_cannot_say_it_notes(books):
    book(books, [fill(key="f3", quantity="1")], datetime(2024, 1, 8, tzinfo=UTC))
    assert read_live_report(books, "1").notes == ("1 bookings after the last valuation are not in these figures",)
    ask(books, "UPDATE market_data SET close_price = 120 WHERE close_price = 121 RETURNING 1")
    (note,) = read_live_report(books, "1", until=date(2024, 1, 4)).notes
    assert note == (
        "the bars have changed since the last valuation: it took the positions for 726.00, at the prices shown they "
        "are 720.00"
    )
    ask(books, "DELETE FROM market_data RETURNING 1")
    report = read_live_report(books, "1", until=date(2024, 1, 4))
    assert report.notes == ("no bar is in this database to value AAPL at",)
    assert report.positions == (Held("AAPL", D(6), None, None),)


def test_of_several_sources_it_takes_the_one_that_was_used(books):
    ask(
        books,
        "INSERT INTO market_data (ticker, timestamp, open_price, high_price, low_price, close_price, volume, "
        "bar_interval, source) VALUES ('AAPL', '2024-01-04', 100, 200, 50, 130, 1, '1d', 'another') RETURNING 1",
    )
    assert read_live_report(books, "1").positions[0].price == 121


BAR = (
    "INSERT INTO market_data (ticker, timestamp, open_price, high_price, low_price, close_price, volume, "
    "bar_interval, source) VALUES ('AAPL', %s, 100, 200, 50, %s, 1, %s, %s) RETURNING 1"
)


def test_nothing_is_held_and_still_it_takes_the_source_that_was_used(books):
    ask(books, BAR, datetime(2024, 1, 4, tzinfo=UTC), D(150), "1d", "another")
    at = datetime(2024, 1, 5, 21, tzinfo=UTC)
    book(books, [fill(key="f3", side="SELL", quantity="6", price="120")], at)
    value(books, "1", {}, Lots(), at, datetime(2024, 1, 5, tzinfo=UTC))
    assert read_live_report(books, "1").prices == ("sample", "1d")


def test_of_a_days_last_hour_it_takes_the_hours(books):
    """The last hour closes where the day does."""
    for hour, close in ((19, 119), (20, 121)):
        ask(books, BAR, datetime(2024, 1, 4, hour, tzinfo=UTC), D(close), "1h", "sample")
    at = datetime(2024, 1, 4, 20, tzinfo=UTC)
    value(books, "1", {"AAPL": Mark(D(121))}, Lots(), at + timedelta(hours=1), at)
    assert read_live_report(books, "1").prices == ("sample", "1h")
    assert read_live_report(books, "1", until=FIRST).prices == ("sample", "1d")


@pytest.mark.parametrize(
    ("asked", "kind", "answer"),
    [
        (("3",), UsageError, "there is no portfolio '3' in the books (there are: 1, 2)"),
        (("1", date(2024, 2, 1), date(2024, 1, 1)), UsageError, "the range is empty: its start 2024-02-01 is after"),
        (("1", date(2024, 2, 1)), DataError, "not valued from 2024-02-01; its valuations reach from 2024-01-02 to"),
        (("2",), DataError, "portfolio '2' was never valued"),
    ],
)
def test_what_cannot_be_reported(books, asked, kind, answer):
    with pytest.raises(kind) as error:
        read_live_report(books, *asked)
    assert answer in str(error.value)


def test_on_a_terminal(books):
    console = Console(width=100)
    with console.capture() as captured:
        found = report_live(books, "1", None, None)
        show_live(found.report, found.made, found.basis, None, console)
    shown = captured.get()
    assert "Portfolio 1: paper, broker paper, account ACCOUNT; 2024-01-02 to 2024-01-04, 3 valuations" in shown
    assert "2024-01-02 15:30 withdrawal c3 −500.00" in " ".join(shown.split())
    assert "Money-weighted return a year" in shown
    for line in (
        "Money in 11,000.00",
        "Profit 211.00",
        "Equity at the end 10,711.00",
        "Dividends 7.00",
        "AAPL 6 121.00 726.00",
    ):
        assert line in " ".join(shown.split())


def test_as_files(books, tmp_path):
    found = report_live(books, "1", None, None)
    for _ in range(2):
        write_live(found.report, found.made, found.basis, tmp_path / "out")
    numbers = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert numbers["last_trades"][0]["exec_timestamp"] == "2024-01-02T15:30:00Z"
    with (tmp_path / "out" / "equity.csv").open() as file:
        equity = list(csv.DictReader(file))
    assert [row["timestamp"] for row in equity] == [f"2024-01-0{day}T00:00:00Z" for day in (2, 3, 4)]
    assert Decimal(equity[-1]["equity"]) == D("10711")
    with (tmp_path / "out" / "trades.csv").open() as file:
        assert [row["side"] for row in csv.DictReader(file)] == ["BUY", "SELL"]
    with (tmp_path / "out" / "flows.csv").open() as file:
        flows = list(csv.DictReader(file))
    assert [(row["portfolio_id"], row["kind"], float(row["amount"])) for row in flows] == [
        ("1", "deposit", 10000.0),
        ("1", "deposit", 1000.0),
        ("1", "withdrawal", -500.0),
    ]
