"""The return index: what drawdown is measured on, also after a halt by a risk rule was ended."""

from __future__ import annotations

import psycopg2
import pytest

from framework.books import reads
from framework.books.ledger import book, lock
from framework.books.lots import Lots, Mark
from framework.books.returns import ReturnIndex
from framework.books.valuation import value
from framework.db.failures import translated
from framework.engine.halts import halt, resume
from framework.errors import DatabaseBusy
from tests.books.cases import AT, D, ask, cash, fill


def drawdown(*valuations):
    """Of valuations (equity, money that has come in)."""
    index = ReturnIndex()
    for equity, money_in in valuations:
        index.add(equity, money_in)
    return index.drawdown


@pytest.mark.parametrize(
    ("valuations", "expected"),
    [
        ([], 0.0),
        ([(100, 100)], 0.0),
        ([(90, 100)], -0.1),
        ([(120, 100), (90, 100)], -0.25),
        ([(120, 100), (90, 100), (150, 100)], 0.0),
        ([(120, 100), (90, 100), (105, 100)], -0.125),
    ],
)
def test_drawdown_is_measured_from_the_highest_point(valuations, expected):
    assert drawdown(*valuations) == pytest.approx(expected, abs=1e-15)


def test_money_that_comes_or_goes_is_no_gain_and_no_loss():
    assert drawdown((100, 100), (1100, 1100), (1100, 1100)) == 0.0
    assert drawdown((100, 100), (50, 50)) == 0.0
    assert drawdown((100, 100), (900, 1000)) == pytest.approx(-0.1)
    assert drawdown((100, 100), (90, 100), (1090, 1100)) == pytest.approx(-0.1)
    assert drawdown((100, 100), (0, 0), (0, 0), (500, 500), (400, 500)) == pytest.approx(-0.2)


@pytest.fixture
def worth(funded):
    """Values portfolio 1, which holds 10 of AAPL bought at 100, at a price."""
    book(funded, [fill(fees="0")])
    lots = Lots()

    def at(price):
        value(funded, "1", {"AAPL": Mark(D(price))}, lots)

    return at


def seen(pool, index=None):
    """The drawdown of portfolio 1; by default as a new process finds it."""
    index = index or ReturnIndex()
    with pool.connection() as connection:
        index.catch_up(connection, "1")
    return index.drawdown


def test_an_index_that_is_kept_gives_what_a_fresh_one_does(funded, worth):
    kept = ReturnIndex()
    assert seen(funded, kept) == 0.0
    for price in (200, 150, 300, 100, 250):
        worth(price)
        assert seen(funded, kept) == seen(funded)
    assert seen(funded) == pytest.approx(11500 / 12000 - 1)
    book(funded, [cash("5000", key="more")])
    worth(250)
    assert seen(funded, kept) == seen(funded) == pytest.approx(11500 / 12000 - 1)


def halted_and_resumed(pool, by, portfolio_id="1"):
    with pool.connection() as connection:
        halt(connection, portfolio_id, "for a test", by)
        resume(connection, portfolio_id, "ann")


def test_a_loss_that_a_risk_rule_halted_for_is_behind_once_it_was_resumed(funded, worth):
    kept = ReturnIndex()
    for price in (200, 100):
        worth(price)
    assert seen(funded, kept) == pytest.approx(10000 / 11000 - 1)
    halted_and_resumed(funded, "risk rule")
    assert seen(funded, kept) == seen(funded) == 0.0
    worth(50)
    assert seen(funded, kept) == seen(funded) == pytest.approx(9500 / 10000 - 1)
    worth(150)
    assert seen(funded, kept) == seen(funded) == 0.0
    worth(100)
    halted_and_resumed(funded, "risk rule")
    assert seen(funded, kept) == seen(funded) == 0.0


def test_a_halt_by_hand_or_of_another_portfolio_forgives_nothing(funded, worth):
    for price in (200, 100):
        worth(price)
    halted_and_resumed(funded, "ann")
    halted_and_resumed(funded, "risk rule", "2")
    assert seen(funded) == pytest.approx(10000 / 11000 - 1)
    with funded.connection() as connection:
        halt(connection, "1", "for a test", "risk rule")
    assert seen(funded) == pytest.approx(10000 / 11000 - 1), "it is in force"
    with funded.connection() as connection:
        resume(connection, None, "ann")
    assert seen(funded) == 0.0, "resuming all resumes this one"


def test_a_bar_is_valued_once_and_none_after_a_later_one(funded, worth):
    # By an engine that was paused while another one went on.
    later = AT.replace(day=3)
    for bar in (AT, later, later, AT.replace(hour=16)):
        value(funded, "1", {"AAPL": Mark(D(100))}, Lots(), None, bar)
    assert ask(funded, "SELECT bar_timestamp FROM pnl_book ORDER BY id") == [(AT,), (later,)]
    worth(100)
    assert len(ask(funded, "SELECT id FROM pnl_book")) == 3, "by hand there is no bar"


def test_who_waits_too_long_for_a_lock_is_told_that_the_database_is_busy(funded, monkeypatch, database):
    monkeypatch.setattr(reads, "LOCK_SECONDS", 0.1)
    holder = psycopg2.connect(database)
    try:
        with holder.cursor() as cursor:
            cursor.execute("SELECT FROM portfolios WHERE portfolio_id = '1' FOR UPDATE")
        with pytest.raises(DatabaseBusy, match="another transaction holds what it needs"):
            book(funded, [cash("1", key="later")])
    finally:
        holder.close()
    book(funded, [cash("1", key="later")])


def test_who_is_silent_with_the_lock_in_hand_loses_it_before_others_give_up(funded):
    assert reads.SILENCE_SECONDS < reads.LOCK_SECONDS
    with funded.transaction() as connection, connection.cursor() as cursor:
        lock(connection, ["1"])
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == (f"{reads.SILENCE_SECONDS}s",)
    assert ask(funded, "SHOW idle_in_transaction_session_timeout") == [("0",)]


@pytest.mark.parametrize("code", ["53100", "53200", "53300", "55P03"])
def test_a_server_without_room_is_busy_and_not_broken(books, code):
    # To an engine that is an outage: it waits, and counts no failure of the portfolio's.
    with pytest.raises(DatabaseBusy), books.transaction() as connection, translated("test"):
        connection.cursor().execute(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{code}'; END $$")
