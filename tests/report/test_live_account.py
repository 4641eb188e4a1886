"""The account that reports make of live books: splits, shorts, other currencies, orders, and what is left out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from framework.books.entries import Correction, Rename, Split
from framework.books.keys import dividend_key
from framework.books.ledger import book
from framework.books.lots import Lots, Mark
from framework.books.valuation import value
from framework.report.csv_set import TABLES
from framework.report.tables import table_text
from framework.report_run import report_live
from tests.books.cases import D, ask, cash, fill, open_

BAR = (
    "INSERT INTO market_data (ticker, timestamp, open_price, high_price, low_price, close_price, volume, bar_interval, "
    "source) VALUES (%s, %s, 1, 1000, 0.001, %s, 1, '1d', 'sample') RETURNING 1"
)


class Days:
    """Books on days of January 2024, each booked and valued at 21:00."""

    def __init__(self, pool, currency="USD"):
        self.pool, self.lots, self.day = pool, Lots(), 1
        open_(pool, "1", currency=currency)

    def next(self, entries, marks, rates=None, bars=None):
        self.day += 1
        bar = datetime(2024, 1, self.day, tzinfo=UTC)
        for ticker, close in {**marks, **(bars or {})}.items():
            ask(self.pool, BAR, ticker, bar, D(close))
        at = bar + timedelta(hours=21)
        if entries:
            book(self.pool, entries, at)
        priced = {ticker: Mark(D(close), D((rates or {}).get(ticker, 1))) for ticker, close in marks.items()}
        return value(self.pool, "1", priced, self.lots, at, bar)

    def account(self, *dates):
        return report_live(self.pool, "1", *(dates or (None, None))).made.total


def rows(account, name):
    head, *lines = "".join(table_text(TABLES[name](account))).splitlines()
    return [dict(zip(head.split(","), line.split(","), strict=True)) for line in lines]


def adds_up(account):
    curve = account.curve
    assert curve.equity[-1] == pytest.approx(curve.opening + curve.flows.sum() + curve.profit)
    assert sum(account.contributions.values()) == pytest.approx(curve.profit, abs=1e-5)
    assert np.array_equal(curve.net, np.round(curve.equity - curve.cash, 6))


def test_a_split_changes_the_position_and_the_lots_and_earns_nothing(pool):
    days = Days(pool)
    days.next([cash("10000"), fill(quantity="10", price="100", fees="0")], {"AAPL": "100"})
    split = Split(
        portfolio_id="1", key="split", at=datetime(2024, 1, 3, 14, tzinfo=UTC), session=date(2024, 1, 3),
        ticker="AAPL", new=D(4),
    )  # fmt: skip
    days.next([split], {"AAPL": "25"})
    sold = datetime(2024, 1, 4, 14, tzinfo=UTC)
    days.next([fill(key="f2", side="SELL", quantity="10", price="30", fees="0", at=sold)], {"AAPL": "30"})
    account = days.account()
    adds_up(account)
    assert [(row["quantity"], row["price"]) for row in rows(account, "positions.csv")] == [
        ("10", "100.000000"), ("40", "25.000000"), ("30", "30.000000"),
    ]  # fmt: skip
    closed, held = rows(account, "lots.csv")
    assert (closed["quantity"], closed["cost"], closed["value"], closed["profit"]) == (
        "10", "250.000000", "300.000000", "50.000000",
    )  # fmt: skip
    assert (held["quantity"], held["closed"], held["profit"]) == ("30", "", "150.000000")
    assert account.contributions == {"AAPL": 200.0}
    (acted,) = rows(account, "actions.csv")
    assert list(acted.values()) == ["2024-01-03T14:00:00Z", "1", "AAPL", "split", "4", "10", "30", "0.000000"]
    assert (account.actions.splits, account.actions.dividends) == (1, 0)


def test_dividends_are_of_the_shares_before_what_filled_then_also_booked_late(pool):
    days = Days(pool)
    days.next(
        [
            cash("10000"),
            fill(quantity="10", price="100", fees="0"),
            fill(key="s", ticker="IBM", side="SELL", quantity="20", price="50", fees="0"),
        ],
        {"AAPL": "110", "IBM": "40"},
    )
    opened = datetime(2024, 1, 3, 14, tzinfo=UTC)
    days.next(
        [fill(key="f2", side="SELL", quantity="4", price="100", fees="0", at=opened)], {"AAPL": "110", "IBM": "40"}
    )
    owed = {"kind": "adjustment", "key": dividend_key("IBM", opened.date(), "1"), "for_ticker": "IBM", "at": opened}
    wrong = cash("1", kind="dividend", key="w", for_ticker="AAPL", at=opened)
    days.next(
        [
            cash("5", kind="dividend", key="d", for_ticker="AAPL", at=opened),
            cash("-30", **owed),
            cash("7", kind="dividend", key="nobody", at=opened),
            cash("-2", kind="adjustment", key="other", at=opened),
            wrong,
            Correction(portfolio_id="1", key="w", at=opened + timedelta(days=1), session=date(2024, 1, 4)),
        ],
        {"AAPL": "110", "IBM": "40"},
    )
    account = days.account()
    adds_up(account)
    assert [list(row.values())[2:] for row in rows(account, "actions.csv")] == [
        ["AAPL", "dividend", "0.5", "10", "0", "5.000000"],
        ["IBM", "dividend", "1.5", "-20", "0", "-30.000000"],
        ["", "dividend", "", "0", "0", "7.000000"],
    ]
    assert account.actions.dividends == 5 - 30 + 7


def test_shorts_count_to_gross_with_what_they_owe(pool):
    days = Days(pool)
    days.next(
        [
            cash("10000"),
            fill(quantity="10", price="100", fees="0"),
            fill(key="s", ticker="IBM", side="SELL", quantity="20", price="50", fees="0"),
        ],
        {"AAPL": "110", "IBM": "40"},
    )
    account = days.account()
    adds_up(account)
    assert (account.curve.net[-1], account.curve.gross[-1]) == (1100 - 800, 1100 + 800)
    assert sorted(account.contributions.items()) == [("AAPL", 100.0), ("IBM", 200.0)]


def test_another_currency_is_valued_at_the_rate_of_its_moment(pool):
    days = Days(pool)
    foreign = {"ticker": "SAP", "currency": "EUR", "fx_rate": D("1.1")}
    days.next([cash("10000"), fill(quantity="10", price="100", fees="0", **foreign)], {"SAP": "100"},
              {"SAP": "1.1"}, {"EURUSD": "1.1"})  # fmt: skip
    # A day of currencies ends at 17:00 New York, an hour after this valuation: the rate of the day before still holds.
    days.next([], {"SAP": "120"}, {"SAP": "1.1"}, {"EURUSD": "1.2"})
    found = report_live(pool, "1", None, None)
    assert found.basis.notes == ()
    (held,) = found.report.positions
    assert (held.price, held.value) == (120, D("1320"))
    account = found.made.total
    adds_up(account)
    assert account.contributions["SAP"] == pytest.approx(220)
    assert rows(account, "lots.csv")[0]["value"] == "1320.000000"
    assert rows(account, "trades.csv")[0]["currency"] == "EUR"
    assert rows(account, "positions.csv")[0]["quantity"] == "10"


def test_income_and_what_no_ticker_brought(pool):
    days = Days(pool)
    days.next([cash("10000"), fill(quantity="10", price="100", fees="1")], {"AAPL": "100"})
    days.next(
        [
            cash("7", kind="dividend", key="d", for_ticker="AAPL"),
            cash("-3", kind="fee", key="fee"),
            cash("2", kind="interest", key="i"),
        ],
        {"AAPL": "101"},
    )
    account = days.account()
    adds_up(account)
    assert account.contributions == {"AAPL": 10 + 7 - 1, "no ticker": -1}


def test_a_later_period_begins_with_what_is_held(pool):
    days = Days(pool)
    days.next([cash("10000"), fill(quantity="10", price="100", fees="0")], {"AAPL": "100"})
    days.next([], {"AAPL": "110"})
    days.next([fill(key="f2", side="SELL", quantity="4", price="120", fees="0")], {"AAPL": "120"})
    account = days.account(date(2024, 1, 4), None)
    adds_up(account)
    assert account.contributions == {"AAPL": 100.0}
    assert [row["quantity"] for row in rows(account, "positions.csv")] == ["6"]
    closed, held = rows(account, "lots.csv")
    assert (closed["profit"], held["profit"]) == ("80.000000", "120.000000")
    assert account.curve.opening == 10100


def test_a_new_name_takes_with_it_what_the_old_one_brought(pool):
    days = Days(pool)
    days.next([cash("10000"), fill(ticker="FB", quantity="10", price="100", fees="0")], {"FB": "110"})
    renamed = Rename(
        portfolio_id="1", key="r", at=datetime(2024, 1, 3, 14, tzinfo=UTC), session=date(2024, 1, 3), ticker="FB",
        new_ticker="META",
    )  # fmt: skip
    days.next([renamed], {"META": "120"})
    whole, later = days.account(), days.account(date(2024, 1, 3), None)
    adds_up(whole)
    adds_up(later)
    assert (whole.contributions, later.contributions) == ({"META": 200.0}, {"META": 100.0})
    assert [list(row.values())[2:] for row in rows(later, "actions.csv")] == [
        ["FB", "rename", "", "10", "-10", "0.000000"],
        ["META", "rename", "", "0", "10", "0.000000"],
    ]


def test_a_split_or_a_rename_leaves_a_ticker_its_currency(pool):
    days = Days(pool)
    foreign = {"ticker": "SAP", "currency": "EUR", "fx_rate": D("1.1")}
    days.next([cash("10000"), fill(quantity="10", price="100", fees="0", **foreign)], {"SAP": "100"},
              {"SAP": "1.1"}, {"EURUSD": "1.1"})  # fmt: skip
    at = {"portfolio_id": "1", "at": datetime(2024, 1, 3, 14, tzinfo=UTC), "session": date(2024, 1, 3), "ticker": "SAP"}
    entries = [Split(key="s", new=D(4), **at), Rename(key="r", new_ticker="SAPX", **at)]
    days.next(entries, {"SAPX": "30"}, {"SAPX": "1.1"})
    found = report_live(pool, "1", None, None)
    assert found.basis.notes == ()
    assert [held.value for held in found.report.positions] == [D("1320")]
    account = found.made.total
    adds_up(account)
    assert account.currencies == ("EUR", "EUR")
    assert account.contributions == {"SAPX": pytest.approx(220)}


def test_what_has_no_bar_for_months_keeps_its_last_price(pool):
    days = Days(pool)
    bought = [fill(key=ticker, ticker=ticker, quantity="10", price="100", fees="0") for ticker in ("AAPL", "GONE")]
    days.next([cash("10000"), *bought], {"AAPL": "100", "GONE": "105"})
    for number, close in ((50, "150"), (51, "151")):
        bar = datetime(2024, 1, 2, tzinfo=UTC) + timedelta(days=number)
        ask(pool, BAR, "AAPL", bar, D(close))
        marks = {"AAPL": Mark(D(close)), "GONE": Mark(D("105"))}
        value(pool, "1", marks, days.lots, bar + timedelta(hours=21), bar)
    account = days.account(bar.date(), None)
    adds_up(account)
    assert account.contributions == {"AAPL": 10.0, "GONE": 0.0}


def test_a_valuation_without_a_bar_gives_way_to_an_older_bar_that_came_later(pool):
    days = Days(pool)
    days.next([cash("1000")], {})
    evening = datetime(2024, 1, 3, 23, 30, tzinfo=UTC)
    book(pool, [cash("50", key="c2")], evening)
    value(pool, "1", {}, days.lots, evening)
    value(pool, "1", {}, days.lots, evening + timedelta(hours=1), datetime(2024, 1, 3, tzinfo=UTC))
    account = days.account()
    assert account.curve.timestamps.tolist() == [datetime(2024, 1, 2), datetime(2024, 1, 3)]  # noqa: DTZ001
    assert account.curve.flows.tolist() == [1000, 50]
    adds_up(account)


def test_nothing_but_money(pool):
    days = Days(pool)
    days.next([cash("1000")], {})
    account = days.account()
    adds_up(account)
    assert (len(account.fills), len(account.lots), account.curve.profit) == (0, 0, 0)
    for name in TABLES:
        rows(account, name)


def test_a_corrected_trade_counts_once(pool):
    days = Days(pool)
    days.next([cash("10000"), fill(quantity="10", price="100", fees="1")], {"AAPL": "110"})
    right = fill(key="f1b", quantity="12", price="100", fees="2")
    at = datetime(2024, 1, 3, 14, tzinfo=UTC)
    days.next([Correction(portfolio_id="1", key="f1", at=at, session=at.date(), right=right)], {"AAPL": "110"})
    account = days.account()
    adds_up(account)
    assert [(row["quantity"], row["fees"]) for row in rows(account, "trades.csv")] == [("12", "2.000000")]
    assert [(row["quantity"], row["value"]) for row in rows(account, "positions.csv")] == [
        ("10", "1100.000000"),
        ("12", "1320.000000"),
    ]
    assert account.contributions == {"AAPL": 12 * 10 - 2.0}
    # Of a period that has the correction alone, both rows are part: what was before stays as it was told then.
    assert len(days.account(date(2024, 1, 3), None).fills) == 2
