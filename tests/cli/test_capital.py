"""``engine capital`` as it is typed: what is said, what is booked, and what the exit status tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from framework.books.lots import Lots, Mark
from framework.books.opening import book_opening
from framework.books.valuation import value
from framework.db.pool import Pool
from tests.books.cases import D, ask, open_, open_buy
from tests.data.test_feed import Fake, write

OPEN_MASTER = ["portfolio", "open", "0", "--mode", "paper", "--broker", "paper", "--account", "master"]
ROWS = "SELECT count(*) FROM trade_execution_logs"


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch, database):
    """An empty working folder; the database is found as a user's is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)


@pytest.fixture
def books(pool: Pool) -> Pool:
    """Open, empty portfolios 0, 1 and euro (in EUR)."""
    open_(pool, "0", "1")
    open_(pool, "euro", currency="EUR")
    return pool


@pytest.fixture
def capital(engine):
    """A function that runs ``engine capital``, expects it to succeed, and gives its lines, or its JSON."""

    def run(*arguments):
        done = engine("capital", *arguments)
        assert (done.returncode, done.stderr) == (0, ""), done
        return json.loads(done.stdout) if "--json" in arguments else done.stdout.splitlines()

    return run


def cells(line):
    return line.split()


def test_every_command_has_help_with_an_example(engine):
    for command in ("add", "withdraw", "transfer", "balance", "history"):
        done = engine("capital", command, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"Example: engine capital {command}" in done.stdout
        assert all(option in done.stdout for option in ("--json", "--config", "--url"))


# --- add, withdraw, transfer -----------------------------------------------------------------------------------------


def test_money_comes_moves_and_goes(capital, books):
    assert capital("add", "100000", "--reference", "2026-01", "--note", "first capital") == [
        "added 100,000.00 USD to portfolio 0, reference 2026-01",
        "portfolio 0: cash 100,000.00 USD",
    ]
    assert capital("transfer", "20000.123456", "--to", "1", "--reference", "start") == [
        "transferred 20,000.123456 USD from portfolio 0 to 1, reference start",
        "portfolio 0: cash 79,999.876544 USD",
        "portfolio 1: cash 20,000.123456 USD",
    ]
    assert capital("transfer", "0.123456", "--from", "1", "--reference", "crumbs")[1:] == [
        "portfolio 1: cash 20,000.00 USD",
        "portfolio 0: cash 80,000.00 USD",
    ]
    assert capital("withdraw", "500", "--portfolio", "1", "--reference", "rent") == [
        "withdrew 500.00 USD from portfolio 1, reference rent",
        "portfolio 1: cash 19,500.00 USD",
    ]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["add", "5"], "added 5.00 USD to portfolio 0"),
        (["withdraw", "5"], "withdrew 5.00 USD from portfolio 0"),
        (["transfer", "5", "--to", "1"], "transferred 5.00 USD from portfolio 0 to 1"),
    ],
)
def test_the_same_again_was_booked_before(capital, books, arguments, what):
    capital("add", "100", "--reference", "start")
    line, *cash = capital(*arguments, "--reference", "r")
    again, *cash_again = capital(*arguments, "--reference", "r")
    assert line == f"{what}, reference r"
    assert again.startswith(f"the reference r was booked before, on {datetime.now(UTC):%Y-%m-}")
    assert again.endswith(f" UTC: {what}; nothing was changed")
    assert cash_again == cash


def test_as_json(capital, books):
    first = capital("add", "1000", "--reference", "r", "--note", "n", "--json")
    assert abs(datetime.fromisoformat(first.pop("at")) - datetime.now(UTC)) < timedelta(minutes=1)
    assert first == {
        "kind": "deposit", "portfolio_id": "0", "to_portfolio_id": None, "reference": "r", "booked_before": False,
        "amount": "1000", "currency": "USD", "fx_rate": "1", "rate": None, "notional": "1000.000000",
        "base_currency": "USD", "note": "n", "cash": {"0": "1000.000000"},
    }  # fmt: skip
    again = capital("add", "1000.00", "--reference", "r", "--note", "n", "--json")
    assert (again["booked_before"], again["cash"]) == (True, {"0": "1000.000000"})
    moved = capital("transfer", "0.5", "--to", "1", "--reference", "r2", "--json")
    assert (moved["kind"], moved["portfolio_id"], moved["to_portfolio_id"]) == ("transfer", "0", "1")
    assert moved["cash"] == {"0": "999.500000", "1": "0.500000"}


def test_the_same_reference_with_other_content_is_exit_1_and_shows_both(engine, capital, books):
    capital("add", "5", "--reference", "r")
    for arguments, shown in (
        (["add", "6"], "a deposit of 6 USD"),
        (["withdraw", "5"], "a withdrawal of 5 USD"),
        (["transfer", "5", "--to", "1"], "a transfer of 5 USD to portfolio '1'"),
    ):
        done = engine("capital", *arguments, "--reference", "r")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(
            "engine: the reference 'r' of portfolio '0' is in the books as a deposit of 5 USD,"
        )
        assert f"asked for was {shown}. Nothing was booked" in done.stderr
    assert ask(books, ROWS) == [(1,)]


@pytest.mark.parametrize("arguments", [["withdraw"], ["transfer", "--to", "1"]])
def test_more_than_is_free_is_exit_1(engine, capital, books, arguments):
    capital("add", "1000", "--reference", "start")
    open_buy(books, "0", "o1", 4, 100)
    done = engine("capital", arguments[0], "600.01", *arguments[1:], "--reference", "r")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "takes 600.01 USD from portfolio '0', whose free cash is 600 (cash 1000, of which 400 is reserved by open buys)"
    ) in done.stderr
    assert ask(books, ROWS) == [(1,)]
    capital(arguments[0], "600", *arguments[1:], "--reference", "r")


def test_paper_money_does_not_become_real(engine, capital, books):
    engine("portfolio", "open", "real", "--mode", "live", "--broker", "alpaca", "--account", "A")
    engine("portfolio", "open", "other", "--mode", "live", "--broker", "alpaca", "--account", "B")
    capital("add", "10", "--reference", "start")
    capital("add", "10", "--reference", "start", "--portfolio", "real")
    done = engine("capital", "transfer", "5", "--to", "real", "--reference", "r")
    assert done.returncode == 1
    assert "'0', which is paper, to 'real', which is live; paper money never becomes real" in done.stderr
    done = engine("capital", "transfer", "5", "--from", "real", "--to", "other", "--reference", "r")
    assert done.returncode == 1
    assert "'real' in account 'A' of broker 'alpaca' to 'other' in account 'B' of 'alpaca'" in done.stderr
    assert "move it at the brokers, withdraw it here and add it there" in done.stderr


def test_books_on_a_simulated_clock_say_when_it_was_booked(capital, books):
    book_opening(books, "1", D(500), datetime(2009, 6, 30, 20, tzinfo=UTC))
    capital("add", "10", "--reference", "start")
    lines = capital("transfer", "10", "--to", "1", "--reference", "r")
    assert "booked at 2009-06-30 20:00 UTC, the moment that the books on a simulated clock have come to" in lines


ABSURD = ("nan", "NaN", "inf", "-inf", "1e400", "1e3", "1,000", "1_000", "١٢", " 5", "+5", "five", "", "0", "0.0000001",
          "1000000000000000", "0x10", "5 USD", "½", "--", "9" * 5000, "0." + "1" * 5000)  # fmt: skip
R = ("--reference", "r")
WRONG = (
    (["add", "5"], "Missing option '--reference'"),
    (["add", *R], "Missing argument 'AMOUNT'"),
    (["add", "-5", *R], "No such option: -5"),
    (["add", "5", "--reference", ""], "reference was ''"),
    (["add", "5", "--reference", "opening:0"], "reference was 'opening:0'; allowed: one that does not begin with"),
    (["add", "5", *R, "--portfolio", ""], "portfolio_id was ''"),
    (["add", "5", *R, "--portfolio", "eur"], "there is no portfolio 'eur' in the books; did you mean 'euro'?"),
    (["add", "5", *R, "--note", "a\nb"], "note was 'a\\nb'"),
    (["add", "5", *R, "--currency", "eur"], "currency was 'eur'"),
    (["add", "5", *R, "--fx-rate", "1.1"], "--fx-rate was given without --currency"),
    (["add", "5", *R, "--currency", "EUR", "--fx-rate", "1,1"], "--fx-rate was '1,1'; allowed: a number above 0"),
    (["add", "5", *R, "--currency", "EUR", "--fx-rate", "nan"], "--fx-rate was 'nan'"),
    (["add", "5", *R, "--currency", "EUR", "--fx-rate", "0.0"], "--fx-rate was '0.0'"),
    (["add", "5", *R, "--currency", "EUR", "--fx-rate", "1" + "0" * 12], "fx_rate was"),
    (["add", "5", *R, "--source", "x"], "--source says where a rate is looked up, but --currency was not given"),
    (["add", "5", *R, "--currency", "EUR", "--fx-rate", "1", "--source", "x"], "--source says where a rate is looked"),
    (["transfer", "5", *R], "neither --from nor --to was given"),
    (["transfer", "5", *R, "--to", "0"], "both ends of the transfer are portfolio '0'"),
    (["transfer", "5", *R, "--to", "7"], "there is no portfolio '7' in the books (open are: 0, 1, euro)"),
    (["transfer", "5", *R, "--from", ""], "portfolio_id was ''"),
    (["history", "--limit", "0"], "Invalid value for '--limit'"),
    (["history", "--portfolio", "7"], "there is no portfolio '7'"),
    (["balance", "--portfolio", "7"], "there is no portfolio '7'"),
    (["burn", "5"], "No such command 'burn'"),
)


def test_absurd_amounts_are_exit_2_with_a_sentence(engine, books):
    for amount in ABSURD:
        done = engine("capital", "add", *R, "--", amount)
        assert (done.returncode, done.stdout) == (2, ""), amount
        assert done.stderr.startswith(f"engine: AMOUNT was '{amount[:40]}")
        assert "allowed: an amount" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert ask(books, ROWS) == [(0,)]


def test_every_plain_amount_is_booked_to_the_last_digit(capital, books):
    total = Decimal(0)
    for amount in ("999999999999.999999", "0.000001", ".5", "5.", "007", "1.0000000"):
        total += Decimal(amount)
        moved = capital("add", amount, "--reference", f"r{amount}", "--json")
        assert Decimal(moved["cash"]["0"]) == total
        assert Decimal(capital("balance", "--json")["totals"][1]["cash"]) == total


def test_wrong_usage_is_exit_2_and_books_nothing(engine, books):
    for arguments, answer in WRONG:
        done = engine("capital", *arguments)
        assert (done.returncode, done.stdout) == (2, ""), arguments
        assert done.stderr.startswith(f"engine: {answer}"), done.stderr
    assert ask(books, ROWS) == [(0,)]


# --- currencies ------------------------------------------------------------------------------------------------------


def test_a_stated_rate_is_printed_and_stored(capital, books):
    assert capital("add", "1000", "--currency", "EUR", "--fx-rate", "1.0845", "--reference", "r") == [
        "added 1,000.00 EUR = 1,084.50 USD (at 1.0845 USD per EUR) to portfolio 0, reference r",
        "portfolio 0: cash 1,084.50 USD",
    ]
    assert capital("withdraw", "10", "--currency", "EUR", "--fx-rate", "1.1", "--reference", "w")[1:] == [
        "portfolio 0: cash 1,073.50 USD"
    ]
    assert ask(books, "SELECT currency, fx_rate FROM trade_execution_logs ORDER BY id") == [
        ("EUR", D("1.0845")), ("EUR", D("1.1")),
    ]  # fmt: skip


def close(pool, ticker, price, day):
    source = Fake()
    write(pool, source, [(ticker, f"{day:%Y-%m-%d}", price / 1.25)])
    return source.key()


def weekday_before(days):
    """A day of currencies that ended at least so many days ago."""
    day = datetime.now(UTC).date() - timedelta(days=days + 1)
    while day.weekday() > 4:
        day -= timedelta(days=1)
    return day


def test_without_one_the_newest_close_counts(engine, capital, books):
    day = weekday_before(1)
    source = close(books, "EURUSD", 1.25, day)
    lines = capital("add", "1000", "--currency", "EUR", "--reference", "r")
    assert lines[0] == "added 1,000.00 EUR = 1,250.00 USD (at 1.25 USD per EUR) to portfolio 0, reference r"
    assert lines[1].startswith(f"the rate is the close of EURUSD of {source}, known since {day} 2")
    close(books, "EURUSD", 1.5, day)
    again = capital("add", "1000", "--currency", "EUR", "--reference", "r")
    assert "was booked before" in again[0]
    assert "(at 1.25 USD per EUR)" in again[0]
    done = engine("capital", "add", "1000", "--currency", "EUR", "--reference", "new")
    assert done.returncode == 2
    assert f"2 data sources have a rate from EUR to USD: {source}, " in done.stderr
    assert "choose one with --source. Nothing was booked." in done.stderr
    moved = capital("add", "1000", "--currency", "EUR", "--reference", "new", "--source", source, "--json")
    assert (moved["fx_rate"], moved["notional"], moved["base_currency"]) == ("1.25", "1250.000000", "USD")
    assert moved["rate"]["source"] == source
    assert (moved["rate"]["ticker"], moved["rate"]["is_inverse"]) == ("EURUSD", False)
    inverse = capital("add", "1000", "--currency", "USD", "--portfolio", "euro", "--reference", "i", "--source", source)
    since = datetime.fromisoformat(moved["rate"]["known_since"])
    assert inverse[:2] == [
        "added 1,000.00 USD = 800.00 EUR (at 0.8 EUR per USD) to portfolio euro, reference i",
        f"the rate is 1 over the close of EURUSD of {source}, known since {since:%Y-%m-%d %H:%M} UTC",
    ]


def test_an_old_rate_is_told_of(engine, books):
    close(books, "EURUSD", 1.25, weekday_before(30))
    done = engine("capital", "add", "1000", "--currency", "EUR", "--reference", "r")
    assert done.returncode == 0
    assert "Note: that rate is 3" in done.stderr
    assert "do it again with --fx-rate" in done.stderr


def test_no_rate_says_what_to_do(engine, books):
    close(books, "EURUSD", 1.25, weekday_before(1))
    done = engine("capital", "add", "1000", "--currency", "GBP", "--reference", "r")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("engine: no data source has a close of GBPUSD or USDGBP that was available at 20")
    assert (
        "give --fx-rate (USD per GBP), or load one: engine data backfill --source NAME --tickers GBPUSD" in done.stderr
    )
    done = engine("capital", "add", "1000", "--currency", "EUR", "--reference", "r", "--source", "smaple")
    assert done.returncode == 1
    assert "data source 'smaple' has no close of EURUSD or USDEUR" in done.stderr
    assert ask(books, ROWS) == [(0,)]


# --- balance and history ---------------------------------------------------------------------------------------------


def test_balance_shows_every_portfolio_and_totals(capital, books):
    capital("add", "1000", "--reference", "a")
    capital("transfer", "100.000001", "--to", "1", "--reference", "b")
    capital("add", "7", "--portfolio", "euro", "--reference", "c")
    open_buy(books, "1", "o1", 3, "10.5")
    value(books, "1", {"AAPL": Mark(D(1))}, Lots())
    lines = [cells(line) for line in capital("balance")]
    assert lines[0] == ["portfolio", "mode", "cash", "reserved", "free", "in", "equity"]
    assert lines[1] == ["0", "paper", "899.999999", "0.00", "899.999999", "USD", "never", "valued"]
    assert lines[2][:8] == ["1", "paper", "100.000001", "31.50", "68.500001", "USD", "100.000001", "on"]
    assert lines[3] == ["euro", "paper", "7.00", "0.00", "7.00", "EUR", "never", "valued"]
    assert lines[4:] == [
        ["total", "paper", "7.00", "0.00", "7.00", "EUR"],
        ["total", "paper", "1,000.00", "31.50", "968.50", "USD"],
    ]
    document = capital("balance", "--json", "--portfolio", "1")
    (one,) = document["portfolios"]
    assert datetime.fromisoformat(one.pop("valued_at")).tzinfo is not None
    assert one == {
        "portfolio_id": "1", "mode": "paper", "currency": "USD", "cash": "100.000001", "reserved": "31.500000",
        "free": "68.500001", "equity": "100.000001",
    }  # fmt: skip
    assert document["totals"] == [
        {"mode": "paper", "currency": "USD", "cash": "100.000001", "reserved": "31.500000", "free": "68.500001"}
    ]


def test_balance_of_nothing(capital, pool):
    assert capital("balance")[0].startswith("no portfolio is open in these books; `engine portfolio open ID")
    assert capital("balance", "--json") == {"portfolios": [], "totals": []}


def test_history_shows_what_was_moved(capital, books):
    capital("add", "1000", "--reference", "first money", "--note", "from the bank")
    capital("transfer", "100.5", "--to", "1", "--reference", "b")
    capital("withdraw", "10", "--reference", "c", "--currency", "EUR", "--fx-rate", "1.1")
    header, *lines = capital("history")
    assert header.split() == ["booked", "(UTC)", "kind", "amount", "which", "was", "balance", "reference", "note"]
    shown = [line.split(maxsplit=2)[2] for line in lines]
    assert [" ".join(line.split()) for line in shown] == [
        "withdrawal -11.00 10.00 EUR at 1.1 888.50 c",
        "transfer to 1 -100.50 899.50 b",
        "deposit +1,000.00 1,000.00 first money from the bank",
    ]
    assert lines[0].startswith(f"{datetime.now(UTC):%Y-%m-}")
    assert len(capital("history", "--limit", "1")) == 2
    document = capital("history", "--portfolio", "1", "--json")
    (one,) = document.pop("movements")
    assert document == {"portfolio_id": "1"}
    assert (one["kind"], one["reference"], one["other_portfolio_id"]) == ("transfer", "b", "0")
    assert (one["change"], one["amount"], one["balance"], one["note"]) == ("100.500000",) * 3 + (None,)
    assert (one["currency"], one["fx_rate"], one["is_reversal"]) == ("USD", "1", False)
    assert capital("history", "--portfolio", "euro") == ["no money was moved into portfolio euro or out of it"]


def test_long_rows_are_not_cut(capital, books):
    reference, note = "R" * 100, "N" * 120
    capital("add", "123456789012345.123456", "--reference", reference, "--note", note)
    text = "\n".join(capital("history"))
    assert all(part in text for part in ("+123,456,789,012,345.123456", reference, note))


# --- the master ------------------------------------------------------------------------------------------------------


def test_the_master_account_from_nothing(engine, capital, pool):
    done = engine("capital", "add", "5", "--reference", "r")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "engine: there is no portfolio '0' in the books (none is open); to open it, type: engine portfolio open 0 "
        "--mode paper --broker paper --account master\n"
    )
    assert engine(*OPEN_MASTER).stdout == "portfolio 0 is open: paper, broker paper, account master, USD\n"
    capital("add", "5", "--reference", "r")
    assert engine("portfolio", "list").stdout == (
        "portfolio 0: paper, broker paper, account master, USD, cash 5.00 USD, 0 positions\n"
    )
    row = next(line for line in engine("status").stdout.splitlines() if line.startswith("0 "))
    assert all(word in row for word in ("paper", "not running", "5.00", "USD"))
    audit = engine("audit")
    assert (audit.returncode, audit.stdout.splitlines()[1]) == (
        0, "ok    portfolio 0: 1 trade rows replayed, cash 5.00 USD, 0 positions",
    )  # fmt: skip


def test_the_master_of_live_portfolios_is_opened_in_their_account(engine, pool):
    engine("portfolio", "open", "a", "--mode", "live", "--broker", "alpaca", "--account", "PA 1", "--currency", "EUR")
    done = engine("capital", "transfer", "5", "--to", "a", "--reference", "r")
    typed = "engine portfolio open 0 --mode live --broker alpaca --account 'PA 1' --currency EUR"
    assert done.stderr.endswith(f"to open it, type: {typed}\n")


# --- as a process ----------------------------------------------------------------------------------------------------


def test_many_processes_with_one_reference_book_it_once(books):
    command = [sys.executable, "-m", "framework", "capital", "add", "100", "--reference", "once", "--json"]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
        for _ in range(3)
    ]
    said = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    documents = [json.loads(out) for out, _ in said]
    assert sorted(each["booked_before"] for each in documents) == [False, True, True]
    assert len({each["at"] for each in documents}) == 1
    assert ask(books, ROWS) == [(1,)]
