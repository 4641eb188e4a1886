"""Halts, commands and status: what operators say and see, with engines that come, go and die."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from framework.books.ledger import book
from framework.db.pool import Pool
from framework.engine import commands
from framework.engine.halts import halt, halt_history, halts_in_force, resume
from framework.engine.leases import Leases, portfolio_lease
from framework.engine.status import (
    PortfolioStatus,
    engine_stopped,
    read_engines,
    read_overview,
    register_engine,
    write_status,
)
from framework.errors import DatabaseError
from tests.books.cases import ask, cash, fill, open_

NOW = datetime(2024, 1, 2, 15, 30, tzinfo=UTC)


@pytest.fixture
def books(pool: Pool) -> Pool:
    """Open, empty portfolios 1, 2, 3."""
    open_(pool, "1", "2", "3")
    return pool


def leased(pool: Pool, holder: str, *ids: str) -> Leases:
    leases = Leases(pool, holder)
    leases.acquire(map(portfolio_lease, ids))
    return leases


def reasons(pool: Pool, portfolio_id: str) -> list[str]:
    with pool.connection() as connection:
        return [each.reason for each in halts_in_force(connection, portfolio_id)]


# --- halts ---------------------------------------------------------------------------------------------------------


def test_a_halt_binds_its_portfolio_until_it_is_resumed_and_both_stay_visible(books):
    with books.connection() as connection:
        assert halt(connection, "1", "too hot", "ann", keep_orders=True)
        assert (reasons(books, "1"), reasons(books, "2")) == (["too hot"], [])
        ended = resume(connection, "1", "bob")
        assert [(each.reason, each.halted_by, each.resumed_by) for each in ended] == [("too hot", "ann", "bob")]
        assert reasons(books, "1") == []
        assert resume(connection, "1", "bob") == ()
        assert halt(connection, "1", "too hot", "ann")
        history = halt_history(connection, "1")
    assert [(each.resumed_by, each.keep_orders) for each in history] == [("bob", True), (None, False)]
    assert history[0].resumed_at >= history[0].halted_at


def test_a_halt_of_all_binds_portfolios_that_are_opened_later(books):
    with books.connection() as connection:
        halt(connection, None, "panic", "ann")
        open_(books, "4")
        assert reasons(books, "4") == ["panic"]
        assert resume(connection, "4", "bob") == ()
        assert reasons(books, "4") == ["panic"]
        halt(connection, "2", "drawdown", "engine")
        assert reasons(books, "2") == ["panic", "drawdown"]
        assert {each.portfolio_id for each in resume(connection, None, "bob")} == {None, "2"}
    assert reasons(books, "2") == reasons(books, "4") == []


def test_one_reason_counts_once_however_many_say_it(books):
    def once(_: int) -> bool:
        with books.connection() as connection:
            return halt(connection, "1", "drawdown", "engine") | halt(connection, None, "drawdown", "engine")

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(once, range(30)))
    assert reasons(books, "1") == ["drawdown", "drawdown"]
    with books.connection() as connection:
        assert not halt(connection, "1", "drawdown", "engine")
        assert halt(connection, "1", "another", "engine")


def test_a_halt_counts_from_its_commit_on(books):
    with books.transaction() as connection:
        halt(connection, "1", "x", "ann")
        assert reasons(books, "1") == []
    assert reasons(books, "1") == ["x"]


def test_a_long_reason_is_cut_and_an_unknown_portfolio_or_no_reason_refused(books):
    with books.connection() as connection:
        halt(connection, "1", " x\n y" + "z" * 10_000, "ann")
        assert reasons(books, "1") == ["x y" + "z" * 497]
        with pytest.raises(DatabaseError, match="halts_portfolio_id_fkey"):
            halt(connection, "nobody", "x", "ann")
        with pytest.raises(DatabaseError, match="halts_reason_check"):
            halt(connection, "1", "", "ann")


# --- commands ------------------------------------------------------------------------------------------------------


def test_a_command_reaches_the_holder_and_the_answer_whoever_asked(books):
    leases = leased(books, "engine", "1")
    with books.connection() as connection:
        (number,) = commands.ask(connection, "halt", ["1"], "ann", {"keep_orders": True})
        (taken,) = commands.take(connection, leases, ["1", "2"])
        assert (taken.id, taken.kind, taken.portfolio_id, taken.arguments) == (
            number,
            "halt",
            "1",
            {"keep_orders": True},
        )
        assert (taken.state, taken.taken_by, taken.asked_by) == ("running", "engine", "ann")
        assert commands.take(connection, leases, ["1"]) == ()
        assert commands.answer(connection, taken, "3 orders cancelled")
        assert not commands.answer(connection, taken, "again")
    (found,) = commands.wait(books, [number], 5)
    assert (found.state, found.answer) == ("done", "3 orders cancelled")


def test_who_does_not_hold_the_lease_gets_nothing(books):
    leases = leased(books, "engine", "1", "2")
    with books.connection() as connection:
        commands.ask(connection, "halt", ["1", "2", "3"], "ann")
        assert commands.take(connection, Leases(books, "other"), ["1", "2", "3"]) == ()
        ask(books, "UPDATE leases SET expires_at = clock_timestamp() WHERE name = 'portfolio:1' RETURNING 1")
        assert [each.portfolio_id for each in commands.take(connection, leases, ["1", "2", "3"])] == ["2"]


def test_two_engines_take_each_command_once(database):
    pool = Pool(database, max=8)
    open_(pool, "1")
    with pool.connection() as connection:
        numbers = commands.ask(connection, "halt", ["1"] * 40, "ann")
    leases = leased(pool, "engine", "1")
    barrier = threading.Barrier(8)

    def work(_: int) -> list[int]:
        barrier.wait()
        with pool.connection() as connection:
            return [each.id for _ in range(5) for each in commands.take(connection, leases, ["1"])]

    with ThreadPoolExecutor(8) as threads:
        taken = [number for found in threads.map(work, range(8)) for number in found]
    pool.close()
    assert sorted(taken) == sorted(numbers)


def test_what_somebody_is_taking_is_left_to_him_without_waiting(books):
    leases = leased(books, "engine", "1")
    with books.connection() as connection:
        commands.ask(connection, "halt", ["1"], "ann")
    with books.transaction() as taking, books.transaction() as other:
        with other.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '5s'")
        assert len(commands.take(taking, leases, ["1"])) == 1
        assert commands.take(other, leases, ["1"]) == ()


def test_under_a_new_epoch_of_its_own_an_engine_takes_again_what_it_was_running(books):
    leases = leased(books, "engine", "1")
    with books.connection() as connection:
        commands.ask(connection, "liquidate", ["1"], "ann")
        (taken,) = commands.take(connection, leases, ["1"])
        leases.acquire([portfolio_lease("1")])
        (again,) = commands.take(connection, leases, ["1"])
        assert not commands.answer(connection, taken, "late")
        assert commands.answer(connection, again, "flat")


def test_what_a_dead_engine_was_running_is_taken_by_the_next_and_answered_by_it(books):
    first = leased(books, "first", "1")
    with books.connection() as connection:
        (number,) = commands.ask(connection, "liquidate", ["1"], "ann", take_within_seconds=0.2)
        (taken,) = commands.take(connection, first, ["1"])
        ask(books, "UPDATE leases SET expires_at = clock_timestamp() - interval '1 minute' RETURNING 1")
        time.sleep(0.3)
        second = leased(books, "second", "1")
        (again,) = commands.take(connection, second, ["1"])
        assert (again.id, again.taken_by, again.taken_epoch) == (number, "second", 2)
        assert not commands.answer(connection, taken, "late")
        assert commands.answer(connection, again, "flat", failed=True)
        assert [(each.state, each.answer) for each in commands.read(connection, [number])] == [("failed", "flat")]


def test_what_nobody_takes_in_time_is_withdrawn_and_never_happens(books):
    with books.connection() as connection:
        numbers = commands.ask(connection, "liquidate", ["1"], "ann")
        stale = commands.ask(connection, "liquidate", ["1"], "ann", take_within_seconds=0)
    began = time.monotonic()
    (found,) = commands.wait(books, numbers, 0.3)
    assert 0.3 <= time.monotonic() - began < 2
    assert (found.state, found.answer) == ("failed", "no engine took it within 0.3 s, so it was withdrawn")
    leases = leased(books, "engine", "1")
    with books.connection() as connection:
        assert commands.take(connection, leases, ["1"]) == ()
        assert commands.read(connection, stale)[0].state == "waiting"


def test_waiting_ends_when_it_is_told_to_and_leaves_what_runs_alone(books):
    leases = leased(books, "engine", "1")
    stop = threading.Event()
    with books.connection() as connection:
        numbers = commands.ask(connection, "halt", ["1"], "ann")
        commands.take(connection, leases, ["1"])
    threading.Timer(0.2, stop.set).start()
    (found,) = commands.wait(books, numbers, 60, stop)
    assert (found.state, found.answer) == ("running", None)
    assert commands.wait(books, [], 60) == ()


# --- status --------------------------------------------------------------------------------------------------------


def test_an_overview_of_books_where_nothing_has_run(books):
    with books.connection() as connection:
        found = read_overview(connection)
    assert [each.portfolio_id for each in found] == ["1", "2", "3"]
    first = found[0]
    assert (first.holder, first.is_held, first.state, first.cash, first.equity) == (None, False, None, None, None)
    assert (first.positions, first.open_orders, first.cycles) == (0, 0, 0)


def test_an_overview_shows_holder_books_and_what_the_engine_said(books):
    book(books, [cash("10000"), fill(), fill("f2", ticker="MSFT"), fill("f3", "SELL", ticker="MSFT")])
    leases = leased(books, "engine", "1")
    said = PortfolioStatus("1", "waiting", NOW, None, NOW, 7, 2, "no\n  luck" + "x" * 1000, NOW)
    with books.connection() as connection:
        register_engine(connection, "engine", "0.1", "demo")
        write_status(connection, "engine", [said, PortfolioStatus("2", "waiting", NOW)])
        first, second, _ = read_overview(connection)
        (engine,) = read_engines(connection)
    assert (first.holder, first.is_held, first.state, first.cycles) == ("engine", True, "waiting", 7)
    assert 20 < first.lease_seconds <= 30
    assert (first.positions, first.cash) == (1, Decimal("8997.000000"))
    assert (first.last_error[:8], len(first.last_error)) == ("no luckx", 500)
    assert (first.last_cycle_at, first.next_due_at) == (NOW, NOW)
    assert second.state is None, "its lease is not held, so nothing is said of it"
    assert (engine.holder, engine.config_name, engine.stopped_at) == ("engine", "demo", None)
    leases.release([portfolio_lease("1")])
    with books.connection() as connection:
        engine_stopped(connection, "engine")
        assert read_overview(connection)[0].holder is None
        assert read_engines(connection)[0].stopped_at is not None
        assert read_engines(connection, 0) == ()


def test_an_engine_that_lost_the_lease_cannot_overwrite_what_the_next_one_says(books):
    leased(books, "old", "1")
    with books.connection() as connection:
        write_status(connection, "old", [PortfolioStatus("1", "waiting", NOW)])
        ask(books, "UPDATE leases SET expires_at = clock_timestamp() - interval '1 minute' RETURNING 1")
        leased(books, "new", "1")
        write_status(connection, "new", [PortfolioStatus("1", "deciding", NOW)])
        write_status(connection, "old", [PortfolioStatus("1", "stopped", NOW)])
        assert read_overview(connection)[0].state == "deciding"
