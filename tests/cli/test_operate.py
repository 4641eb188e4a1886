"""Operating from the command line: what is said, what is done, and what the exit status tells."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from framework.books.ledger import book
from framework.books.opening import book_opening
from framework.db.pool import Pool
from framework.engine import commands
from framework.engine.halts import halt_history, halts_in_force
from framework.engine.leases import Leases, portfolio_lease
from framework.engine.status import PortfolioStatus, register_engine, write_status
from framework.errors import BookingError
from tests.books.cases import ask, cash, fill, open_

NOW = datetime(2024, 1, 2, 15, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch, database):
    """An empty working folder; the database is found as a user's is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)


@pytest.fixture
def books(pool: Pool) -> Pool:
    """Open, empty portfolios 1, 2 and value."""
    open_(pool, "1", "2", "value")
    return pool


@contextmanager
def answering(pool: Pool, text: str, *ids: str, failed: bool = False) -> Iterator[list[commands.Command]]:
    """An engine that holds these portfolios and answers whatever it is asked."""
    leases = Leases(pool, "host:1:abc")
    leases.acquire(map(portfolio_lease, ids))
    stop, heard = threading.Event(), []

    def work() -> None:
        while not stop.wait(0.02):
            with pool.connection() as connection:
                for command in commands.take(connection, leases, ids):
                    heard.append(command)
                    commands.answer(connection, command, text, failed=failed)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield heard
    finally:
        stop.set()
        thread.join(10)


def in_force(pool: Pool, portfolio_id: str) -> list[str]:
    with pool.connection() as connection:
        return [each.reason for each in halts_in_force(connection, portfolio_id)]


@pytest.mark.parametrize(
    "arguments", [["status"], ["halt"], ["resume"], ["liquidate"], ["portfolio", "open"], ["portfolio", "list"]]
)
def test_every_command_has_help_with_an_example(engine, arguments):
    done = engine(*arguments, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Example: engine {' '.join(arguments)}" in done.stdout


# --- status --------------------------------------------------------------------------------------------------------


def test_status_of_books_in_which_nothing_is_open(engine):
    done = engine("status")
    assert done.returncode == 0
    assert "no portfolio is open in these books; `engine portfolio open ID" in done.stdout
    document = json.loads(engine("status", "--json").stdout)
    assert (document["portfolios"], document["engines"], document["is_all_halted"]) == ([], [], False)


def test_status_of_an_embedded_server_that_was_never_started(engine, monkeypatch):
    monkeypatch.delenv("DATABASE_URL")
    try:
        assert "no portfolio is open" in engine("status").stdout
    finally:
        engine("db", "stop")


def test_status_shows_who_runs_what_and_what_is_wrong(engine, books):
    book(books, [cash("10000"), fill()])
    Leases(books, "host:1:abc").acquire([portfolio_lease("1")])
    Leases(books, "host:2:def").acquire([portfolio_lease("2")])
    ask(books, "UPDATE leases SET expires_at = now() - interval '3 minutes' WHERE name = 'portfolio:2' RETURNING 1")
    with books.connection() as connection:
        register_engine(connection, "host:1:abc", "0.1.0", "demo")
        failing = PortfolioStatus("1", "waiting", NOW, None, datetime.now(UTC), 12, 3, "no prices", NOW)
        write_status(connection, "host:1:abc", [failing])
    engine("halt", "value", "--reason", "odd prices")
    done = engine("status")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    first = next(line for line in lines if line.startswith("1 "))
    assert all(word in first for word in ("paper", "host:1 ", "waiting", "8,999.00", "USD", " s ago"))
    assert "engine gone" in next(line for line in lines if line.startswith("2 "))
    assert "portfolio 2: the lease of host:2:def expired 3 min ago; the next engine that names it takes over" in lines
    assert "portfolio 1: 3 cycles failed in a row: no prices" in lines
    assert any("portfolio value is halted since" in line and line.endswith(": odd prices") for line in lines)
    assert any(re.match(r"engine host:1:abc: config demo, version 0\.1\.0, seen \d+ s ago", line) for line in lines)


def test_status_as_json(engine, books):
    book(books, [cash("10000"), fill()])
    Leases(books, "host:1:abc").acquire([portfolio_lease("1")])
    with books.connection() as connection:
        register_engine(connection, "host:1:abc", "0.1.0", "demo")
        write_status(connection, "host:1:abc", [PortfolioStatus("1", "deciding", NOW, last_cycle_at=NOW, cycles=3)])
    engine("halt", "--all", "--timeout", "0")
    document = json.loads(engine("status", "--json").stdout)
    first, second, _ = document["portfolios"]
    assert first["portfolio_id"] == "1"
    assert (first["holder"], first["is_held"], first["state"], first["status"]) == (
        "host:1:abc", True, "deciding", "halted",
    )  # fmt: skip
    assert (first["cash"], first["positions"], first["equity"], first["cycles"]) == ("8999.000000", 1, None, 3)
    assert first["last_cycle_at"] == "2024-01-02T15:30:00+00:00"
    assert (first["is_halted"], first["halts"][0]["reason"], first["halts"][0]["portfolio_id"]) == (
        True, "by hand", None,
    )  # fmt: skip
    assert (second["holder"], second["is_held"], second["state"]) == (None, False, None)
    assert document["is_all_halted"] is True
    assert document["engines"][0]["config_name"] == "demo"


# --- halt and resume -----------------------------------------------------------------------------------------------


def test_a_halt_needs_no_engine_and_says_what_happens_to_open_orders(engine, books):
    done = engine("halt", "1", "--reason", "too hot")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "portfolio 1: halted; no engine runs it, and it has no open orders\n"
    assert in_force(books, "1") == ["too hot"]
    assert in_force(books, "2") == []
    done = engine("resume", "1")
    assert done.stdout == "portfolio 1: resumed (was halted: too hot); no engine runs it\n"
    assert in_force(books, "1") == []
    assert engine("resume", "1").stdout == "portfolio 1: was not halted; no engine runs it\n"
    with books.connection() as connection:
        (story,) = halt_history(connection, "1")
    assert "@" in story.halted_by
    assert story.halted_by == story.resumed_by


@pytest.mark.parametrize(
    ("options", "fate"),
    [
        ([], "orders never sent: 1, taken back; at the broker: 1, the next engine that runs it cancels them before"),
        (["--keep-orders"], "open orders: 2, they stay open"),
    ],
)
def test_open_orders_without_an_engine(engine, books, options, fate):
    ask(
        books,
        "WITH decided AS (INSERT INTO decisions (portfolio_id, due_at, bar_timestamp, state) "
        "VALUES ('1', now(), now(), '{}') RETURNING due_at) SELECT due_at FROM decided",
    )
    ask(
        books,
        "INSERT INTO orders (order_id, portfolio_id, due_at, intent, ticker, side, quantity, state) "
        "SELECT n || 'o', '1', due_at, n, 'AAPL', 'BUY', 1, (ARRAY['open', 'planned'])[n] "
        "FROM decisions, generate_series(1, 2) AS n RETURNING 1",
    )
    done = engine("halt", "1", *options)
    assert done.stdout.startswith(f"portfolio 1: halted; no engine runs it; {fate}")
    with books.connection() as connection:
        assert halts_in_force(connection, "1")[0].keep_orders is bool(options)
    assert json.loads(engine("status", "--json").stdout)["portfolios"][0]["open_orders"] == (2 if options else 1)
    states = ask(books, "SELECT state, cancel_reason FROM orders ORDER BY intent")
    assert states == ([("open", None), ("planned", None)] if options else [("open", "halted"), ("ended", "halted")])


def test_the_engine_that_runs_it_answers(engine, books):
    with answering(books, "halted; 2 orders cancelled", "1") as heard:
        done = engine("halt", "1", "--keep-orders", "--json")
        assert done.returncode == 0
        document = json.loads(done.stdout)
        assert document["ok"] is True
        assert document["portfolios"] == [
            {"portfolio_id": "1", "ok": True, "text": "halted; 2 orders cancelled", "holder": "host:1:abc"}
        ]
        assert engine("resume", "1").stdout == "portfolio 1: halted; 2 orders cancelled\n"
    assert [(each.kind, each.arguments) for each in heard] == [("halt", {"keep_orders": True}), ("resume", {})]


def test_all_of_them_some_with_an_engine_and_some_without(engine, books):
    with answering(books, "done", "1", "2") as heard:
        done = engine("halt", "--all", "--reason", "panic")
        assert done.returncode == 0
        assert done.stdout.splitlines() == [
            "all portfolios are halted, those included that are opened later",
            "portfolio 1: done",
            "portfolio 2: done",
            "portfolio value: halted; no engine runs it, and it has no open orders",
        ]
        assert sorted(each.portfolio_id for each in heard) == ["1", "2"]
        open_(books, "later")
        assert in_force(books, "later") == ["panic"]
        done = engine("resume", "1")
        assert (done.returncode, done.stdout) == (1, "")
        assert "portfolio 1: stays halted, as all portfolios are (panic); engine resume --all ends that" in done.stderr
        assert engine("resume", "--all").returncode == 0
    assert in_force(books, "1") == in_force(books, "later") == []


def test_all_of_none(engine, pool):
    assert engine("halt", "--all").stdout == "all portfolios are halted, those included that are opened later\n"
    open_(pool, "1")
    assert in_force(pool, "1") == ["by hand"]


def test_an_engine_that_fails_or_does_not_answer_is_exit_1_and_the_halt_stands(engine, books):
    with answering(books, "the broker is away", "1", failed=True):
        done = engine("halt", "1")
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "portfolio 1: the broker is away\n")
    began = time.monotonic()
    done = engine("halt", "1", "--timeout", "0.5")
    assert time.monotonic() - began < 5
    assert done.returncode == 1
    assert "portfolio 1: halted, but engine host:1:abc has not answered within 0.5 s" in done.stderr
    assert in_force(books, "1") == ["by hand"]
    assert ask(books, "SELECT count(*) FROM commands WHERE state = 'waiting'") == [(0,)]


# --- liquidate -----------------------------------------------------------------------------------------------------


def test_liquidating_without_an_engine_halts_and_says_what_to_type(engine, books):
    book(books, [cash("10000"), fill()])
    done = engine("liquidate", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "portfolio 1: halted, but nothing was sold, as no engine runs it; tickers held: 1. Start" in done.stderr
    assert "then type: engine liquidate 1" in done.stderr
    assert in_force(books, "1") == ["liquidation"]
    assert ask(books, "SELECT count(*) FROM commands") == [(0,)], "nothing is left that would sell out of the blue"


def test_liquidating_asks_the_engine(engine, books):
    with answering(books, "flat: 3 positions sold", "1") as heard:
        done = engine("liquidate", "1")
    assert (done.returncode, done.stdout) == (0, "portfolio 1: flat: 3 positions sold\n")
    assert [each.kind for each in heard] == ["liquidate"]
    assert in_force(books, "1") == ["liquidation"]


# --- wrong usage ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["halt"], "engine: neither a portfolio ID nor --all was given; give one\n"),
        (["halt", "1", "--all"], "engine: both a portfolio ID and --all was given; give one\n"),
        (["resume"], "engine: neither a portfolio ID nor --all was given; give one\n"),
        (["halt", "valu"], "engine: there is no portfolio 'valu' in the books; did you mean 'value'? (there are:"),
        (["resume", "7"], "engine: there is no portfolio '7' in the books (there are: 1, 2, value); nothing was"),
        (["liquidate", "' OR 1=1"], 'engine: there is no portfolio "\' OR 1=1" in the books'),
        (["liquidate"], "engine: Missing argument 'ID'."),
        (["halt", "1", "--reason", " "], "engine: --reason was empty"),
        (["halt", "1", "--timeout", "-1"], "engine: Invalid value for '--timeout'"),
        (["halt", "1", "--timeout", "nan"], "engine: Invalid value for '--timeout'"),
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_2_and_changes_nothing(engine, books, arguments, answer):
    done = engine(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(answer)
    assert ask(books, "SELECT (SELECT count(*) FROM halts) + (SELECT count(*) FROM commands)") == [(0,)]


# --- portfolio -----------------------------------------------------------------------------------------------------

OPEN = ["portfolio", "open", "1", "--mode", "paper", "--broker", "paper", "--account", "demo"]


def test_a_portfolio_is_opened_with_its_cash_once(engine, pool):
    done = engine(*OPEN, "--cash", "100000")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "portfolio 1 is open: paper, broker paper, account demo, USD",
        "opening deposit of 100,000.00 USD booked",
    ]
    again = engine(*OPEN, "--cash", "100000.00", "--json")
    assert json.loads(again.stdout) == {"portfolio_id": "1", "opened": False, "booked": None}
    other = engine(*OPEN, "--cash", "5")
    assert other.returncode == 1
    assert "is in the books with other content" in other.stderr
    assert json.loads(engine("portfolio", "list", "--json").stdout) == {
        "portfolios": [
            {"portfolio_id": "1", "mode": "paper", "broker": "paper", "account": "demo", "currency": "USD",
             "positions": 0, "cash": "100000.000000"}
        ]
    }  # fmt: skip
    assert engine("portfolio", "list").stdout == (
        "portfolio 1: paper, broker paper, account demo, USD, cash 100,000.00 USD, 0 positions\n"
    )
    assert engine("audit").returncode == 0


def test_an_opening_deposit_is_not_booked_beside_other_money(pool):
    open_(pool, "1")
    book(pool, [cash("10")])
    with pytest.raises(BookingError, match="has bookings but no opening deposit"):
        book_opening(pool, "1", Decimal(5))
    with pytest.raises(BookingError, match="there is no portfolio '2'"):
        book_opening(pool, "2", Decimal(5))


def test_a_list_of_none_says_how_to_open_one(engine):
    assert "no portfolio is open in these books; `engine portfolio open ID" in engine("portfolio", "list").stdout


@pytest.mark.parametrize(
    ("changed", "answer"),
    [
        ({"--mode": "replay"}, "engine: --mode was 'replay'; allowed: paper, live"),
        ({"--mode": "live", "--cash": "5"}, "engine: --cash is for paper portfolios"),
        ({"--cash": "lots"}, "engine: --cash was 'lots'; allowed: an amount such as"),
        ({"--cash": "-5"}, "engine: --cash was '-5'; allowed: an amount above 0"),
        ({"--cash": "nan"}, "engine: --cash was 'nan'; allowed: an amount above 0"),
        ({"--cash": "0.0000001"}, "engine: --cash was '0.0000001'; allowed: an amount above 0 with at most 6"),
        ({"--cash": "1e30"}, "engine: --cash was '1e30'"),
        ({"--currency": "usd"}, "engine: base_currency was 'usd'"),
        ({"--account": ""}, "engine: account was ''"),
    ],
)
def test_what_cannot_be_opened_is_exit_2_and_leaves_no_portfolio(engine, pool, changed, answer):
    given = {"--mode": "paper", "--broker": "paper", "--account": "demo"} | changed
    done = engine("portfolio", "open", "1", *(word for pair in given.items() for word in pair))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(answer)
    assert ask(pool, "SELECT count(*) FROM portfolios") == [(0,)]


def test_a_portfolio_keeps_its_identity(engine, pool):
    assert engine(*OPEN).returncode == 0
    done = engine(*OPEN[:-1], "other")
    assert done.returncode == 2
    assert "belong to account 'demo', not 'other'" in done.stderr


# --- as a process --------------------------------------------------------------------------------------------------


def test_halting_by_a_process_of_its_own(books):
    command = [sys.executable, "-m", "framework", "halt", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["portfolios"][0]["portfolio_id"] == "1"
    assert in_force(books, "1") == ["by hand"]
