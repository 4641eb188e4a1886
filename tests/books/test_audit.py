"""The audit: silent on sound books, and names the first row of broken ones, whatever broke it."""

from __future__ import annotations

import json

import pytest

from framework.books.audit import audit
from framework.books.entries import Adopt, Correction, Rename, Split
from framework.books.ledger import book
from framework.books.lots import Lots, Mark
from framework.books.valuation import value
from framework.cli.main import run_command
from framework.db.pool import Pool
from framework.errors import UsageError
from tests.books.cases import AT, DAY, D, ask, cash, fill, open_, transfer


@pytest.fixture
def filled(funded):
    """Books with every kind of row, trades with ids 1 to 13."""
    common = {"portfolio_id": "1", "at": AT, "session": DAY}
    book(
        funded,
        [
            fill(), fill("f2", "SELL", "3"), transfer("100"), cash("5", "dividend", "d1"),
            Split(**common, key="s", ticker="AAPL", new=D(3), old=D(2)),
            Rename(**common, key="r", ticker="AAPL", new_ticker="APPL"),
            Adopt(**common, key="a", ticker="IBM", quantity=D(-2), cost=D(7), currency="USD"),
            fill("eur", currency="EUR", fx_rate=D("1.07"), price="3.33", quantity="0.333333333"),
            Correction(**common, key="d1", right=cash("4", "dividend", "d2")),
        ],
    )  # fmt: skip
    value(funded, "1", {"APPL": Mark(D(70)), "IBM": Mark(D(8)), "AAPL": Mark(D(3), D("1.07"))}, Lots())
    return funded


@pytest.fixture
def tamper(filled, server):
    """A function that changes the books as only somebody with the superuser's rights can, on purpose."""
    admin = Pool(server.admin_url(ask(filled, "SELECT current_database()")[0][0]), 1, 1)
    books = ("trade_execution_logs", "cash_equity_book", "positions_book", "pnl_book")

    def change(statement):
        off, on = (
            "; ".join(f"ALTER TABLE {table} {what} TRIGGER {table}_append_only" for table in books)
            for what in ("DISABLE", "ENABLE ALWAYS")
        )
        ask(admin, f"{off}; {statement}; {on}; SELECT 1")

    yield change
    admin.close()


def only(report, portfolio_id="1"):
    return next(each for each in report.portfolios if each.portfolio_id == portfolio_id)


def test_sound_books_are_proven(filled):
    report = audit(filled)
    assert report.clean
    assert [each.portfolio_id for each in report.portfolios] == ["1", "2"]
    assert (only(report).trades, only(report).currency, only(report).positions) == (12, "USD", 3)
    assert ask(filled, "SELECT %s = notional FROM cash_equity_book WHERE portfolio_id = '1' ORDER BY id DESC LIMIT 1",
               only(report).cash) == [(True,)]  # fmt: skip


def test_books_without_a_booking_are_proven(books):
    report = audit(books)
    assert report.clean
    assert [each.trades for each in report.portfolios] == [0, 0]
    assert audit(books, ["2"]).portfolios == report.portfolios[1:]


def test_no_portfolio_at_all(pool):
    assert audit(pool).clean
    with pytest.raises(UsageError, match="no portfolio '7'; open are: none"):
        audit(pool, ["7"])


BROKEN = {
    "cash changed": ("UPDATE cash_equity_book SET notional = notional + 0.000001 WHERE trade_id = 3", 3, "notional"),
    "cash deleted": ("DELETE FROM cash_equity_book WHERE trade_id = 2", 2, "cash row"),
    "cash too much": (
        "INSERT INTO cash_equity_book (timestamp, date, portfolio_id, currency, notional, trade_id) "
        "SELECT booked_at, '2024-01-02', '1', 'USD', 1, 7 FROM trade_execution_logs WHERE id = 7", 7, "cash row"),
    "cash of nobody": (
        "INSERT INTO cash_equity_book (timestamp, date, portfolio_id, currency, notional) "
        "VALUES ('2020-01-01Z', '2020-01-01', '1', 'USD', 5)", None, "trade_id"),
    "cash at another time": (
        "UPDATE cash_equity_book SET timestamp = timestamp + '1 ms' WHERE trade_id = 3", 3, "timestamp"),
    "cash of another": ("UPDATE cash_equity_book SET portfolio_id = '2' WHERE trade_id = 6", 6, "portfolio_id"),
    "cash in another currency": ("UPDATE cash_equity_book SET currency = 'EUR' WHERE trade_id = 6", 6, "currency"),
    "position changed": ("UPDATE positions_book SET quantity = quantity - 1e-9 WHERE trade_id = 7", 7, "quantity"),
    "position deleted": ("DELETE FROM positions_book WHERE trade_id = 9", 9, "position row"),
    "position of another ticker": ("UPDATE positions_book SET ticker = 'X' WHERE trade_id = 2", 2, "ticker"),
    "position of another": ("UPDATE positions_book SET portfolio_id = '2' WHERE trade_id = 2", 2, "portfolio_id"),
    "position too much": (
        "INSERT INTO positions_book (portfolio_id, ticker, quantity, updated_at, trade_id) "
        "VALUES ('1', 'X', 1, '2020-01-01Z', 1)", 1, "position row"),
    "position of no trade": (
        "INSERT INTO positions_book (portfolio_id, ticker, quantity, updated_at) "
        "VALUES ('1', 'X', 1, '2020-01-01Z')", None, "trade_id"),
    "position at another time": (
        "UPDATE positions_book SET updated_at = updated_at - '1 ms'::interval WHERE trade_id = 3", 3, "updated_at"),
    "booking time back": (
        "UPDATE trade_execution_logs SET booked_at = booked_at - '1 day'::interval WHERE id = 8", 8, "booking time"),
    "no booking time": ("UPDATE trade_execution_logs SET booked_at = NULL WHERE id = 8", 8, "booking time"),
    "side turned": ("UPDATE trade_execution_logs SET side = 'SELL' WHERE id = 2", 2, "notional"),
    "side of a deposit": ("UPDATE trade_execution_logs SET side = 'SELL' WHERE id = 1", 1, "side of a deposit"),
    "quantity changed": ("UPDATE trade_execution_logs SET quantity = 11 WHERE id = 2", 2, "notional_local"),
    "rate changed": ("UPDATE trade_execution_logs SET fx_rate = 1.08 WHERE currency = 'EUR'", 11, "notional"),
    "rate of the own currency": ("UPDATE trade_execution_logs SET fx_rate = 1.0000000001 WHERE id = 3", 3, "fx_rate"),
    "fees changed": ("UPDATE trade_execution_logs SET fees = 0 WHERE id = 3", 3, "notional"),
    "split with money": ("UPDATE trade_execution_logs SET fees = 1 WHERE id = 7", 7, "money of a split"),
    "kind that does not fit": ("UPDATE trade_execution_logs SET kind = 'split' WHERE id = 6", 6, "kind"),
    "dividend of shares": ("UPDATE trade_execution_logs SET kind = 'dividend' WHERE id = 7", 7, "ticker"),
    "half a transfer": ("UPDATE trade_execution_logs SET execution_id = 'x' WHERE id = 5", 4, "transfer"),
    "valuation back": (
        "INSERT INTO pnl_book (portfolio_id, timestamp, notional, equity, realised, unrealised, income, costs) "
        "VALUES ('1', '2020-01-01Z', 0, 0, 0, 0, 0, 0)", None, "timestamp"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_the_first_row_that_breaks_the_books_is_named(filled, tamper, name):
    statement, trade_id, column = BROKEN[name]
    tamper(statement)
    report = audit(filled)
    findings = [finding for each in report.portfolios for finding in each.findings]
    assert (findings[0].trade_id, findings[0].column) == (trade_id, column), findings
    assert report.unguarded == ()
    assert not report.clean


def test_the_other_side_of_a_broken_transfer_is_told_too(filled, tamper):
    tamper("UPDATE trade_execution_logs SET execution_id = 'x' WHERE id = 4")
    assert only(audit(filled, ["2"]), "2").findings[0].column == "transfer"


def test_what_breaks_one_portfolio_leaves_the_other_proven(filled, tamper):
    tamper("UPDATE cash_equity_book SET notional = 0 WHERE trade_id = 3")
    assert not audit(filled).clean
    assert audit(filled, ["2"]).clean


def test_the_command_says_ok_or_names_the_row(filled, tamper, database, capsys):
    assert run_command(["audit", "--url", database]) == 0
    assert "ok    portfolio 1: 12 trade rows replayed, cash 9,199.81 USD, 3 positions" in capsys.readouterr().out
    tamper("UPDATE positions_book SET quantity = 8 WHERE trade_id = 3")
    assert run_command(["audit", "--url", database]) == 1
    shown = capsys.readouterr().out
    assert "FAIL  portfolio 1" in shown
    assert "first wrong row: positions_book row 2 (of trade 3): quantity should be 7, is 8" in shown
    assert run_command(["audit", "--url", database, "--portfolio", "1", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["portfolios"][0]["findings"][0]["row_id"]) == (False, 2)
    assert run_command(["audit", "--url", database, "--portfolio", "2"]) == 0
    assert run_command(["audit", "--url", database, "--portfolio", "x"]) == 2


def test_the_command_on_empty_books(database, capsys):
    assert run_command(["audit", "--url", database]) == 0
    assert "nothing to prove" in capsys.readouterr().out


def test_open_is_no_booking(pool):
    open_(pool, "7")
    assert audit(pool).clean
