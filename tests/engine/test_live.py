"""The live engine with portfolios that fail, hang, leave, or are many."""

from __future__ import annotations

import decimal
import logging
import threading
import time
from contextlib import contextmanager
from decimal import Decimal
from types import SimpleNamespace

import psycopg2
import pytest

from framework.engine.operate import halt_portfolios, resume_portfolios
from framework.engine.status import read_overview, write_status
from framework.engine.worker import Worker
from framework.errors import (
    BrokerUnavailable,
    DatabaseBusy,
    DatabaseConflict,
    DatabaseNotReady,
    DatabaseUnavailable,
    EngineError,
    PoolTimeout,
)
from tests.engine.runs import ACTS, RULES, after, noon, portfolio, wait_for

BARS = ["2010-02-26", "2010-03-01", "2010-03-02", "2010-03-03", "2010-03-04", "2010-03-05"]
ONCE = {"lease_seconds": 30, "send_timeout_seconds": 10, "max_consecutive_failures": 1}


def buy(ctx, n):
    if n == 1:
        ctx.order("AAA", 10)


def status(pool, name):
    """What ``engine status`` shows of a portfolio; it may not be open yet."""
    with pool.connection() as connection:
        return next((each for each in read_overview(connection) if each.portfolio_id == name), None)


def once(pool, name, is_so, what):
    """Its status, as soon as it is so."""
    return wait_for(lambda: (found := status(pool, name)) and is_so(found) and found, what)


@pytest.fixture
def thinking(monkeypatch):
    """Has a strategy think for so many seconds, as its engine measures it."""
    gone = [0.0]
    monkeypatch.setattr("framework.engine.decider.time", SimpleNamespace(monotonic=lambda: time.monotonic() + gone[0]))

    def think(seconds):
        gone[0] += seconds

    return think


@pytest.fixture
def soon(monkeypatch):
    """Engines tell how they are, and try again, without delay."""
    monkeypatch.setattr("framework.engine.runner._FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("framework.engine.live._TELL_SECONDS", 0.05)


# --- portfolios that fail ------------------------------------------------------------------------------------------


def test_a_run_from_its_first_bar_to_its_last(live):
    ACTS["a"] = buy
    said = live.run(portfolio())
    assert live.decided() == BARS
    assert live.trades() == [("AAA", "BUY", 10, 100.0, "2010-03-01")]
    assert said[0].startswith("Database: ")
    assert live.state() == {"n": 6, "told": []}


@pytest.mark.parametrize(
    ("where", "error"),
    [("strategy", SystemExit), ("strategy", KeyboardInterrupt), ("risk rule", SystemExit), ("risk rule", MemoryError)],
)
def test_whatever_a_plugin_leaves_by_ends_its_portfolio_only(live, pool, error, where):
    def leave(*_):
        raise error("bye")

    ACTS["a"], ACTS["b"], RULES["rule"] = leave if where == "strategy" else buy, buy, leave
    risk = {"risk": [{"name": "rule"}]} if where == "risk rule" else {}
    said = live.run(portfolio("a", **risk), portfolio("b"), engine=ONCE)
    assert (live.decided("a"), live.decided("b")) == ([], BARS)
    found = status(pool, "a")
    assert (found.state, found.reason) == ("stopped", "stopped after 1 failures in a row")
    assert f"{error.__name__}: bye" in found.last_error
    assert ("portfolio a: strategy 'acts' at the bar of 2010-02-26" in found.last_error) == (where == "strategy")
    assert any(" a          STOPPED: " in line for line in said)


def test_an_error_in_words_that_no_database_takes_is_told_all_the_same(live, pool, caplog):
    caplog.set_level(logging.CRITICAL + 1, "framework")  # pytest-xdist cannot send these words either

    def fail(ctx, n):
        raise ZeroDivisionError("no \x00 luck \udcff")

    ACTS["a"], ACTS["b"] = fail, buy
    live.run(portfolio("a"), portfolio("b"), engine=ONCE)
    assert live.decided("b") == BARS
    assert status(pool, "a").last_error.endswith("failed: ZeroDivisionError: no ? luck ?")


def test_a_run_whose_portfolios_have_all_stopped_is_over(live, pool):
    ACTS["a"] = lambda ctx, n: 1 / 0
    with pytest.raises(EngineError, match=r"every portfolio has stopped for its failures, the last with: .*division"):
        live.run(portfolio(), engine=ONCE)
    assert status(pool, "a").state == "stopped"


def test_a_portfolio_that_failed_too_often_stops_until_it_is_resumed(live, pool, soon, travelling):
    failures, is_well = [], threading.Event()

    def fail(ctx, n):
        if not is_well.is_set():
            failures.append(n)
            raise ZeroDivisionError("no luck")

    ACTS["a"], ACTS["b"] = fail, buy
    travelling.go(noon(after(0)))
    engine = {"lease_seconds": 30, "send_timeout_seconds": 10, "max_consecutive_failures": 3}
    with live.running(portfolio("a"), portfolio("b"), engine=engine):
        found = once(pool, "a", lambda it: it.state == "stopped", "it stops")
        assert (found.consecutive_failures, found.reason) == (3, "stopped after 3 failures in a row")
        assert failures == [1, 1, 1]
        time.sleep(0.2)
        assert len(failures) == 3
        is_well.set()
        (outcome,) = resume_portfolios(pool, "a", "me", timeout_seconds=20, announce=lambda line: None)
        assert (outcome.ok, outcome.text) == (True, "resumed")
        wait_for(lambda: live.decided("a") == BARS[:1], "it decides")
        assert once(pool, "a", lambda it: it.state == "waiting", "it goes on").last_error is None
    assert live.decided("b") == BARS[:1]


@pytest.mark.parametrize(
    "error",
    [DatabaseUnavailable, DatabaseBusy, DatabaseNotReady, DatabaseConflict, PoolTimeout, BrokerUnavailable],
)
def test_what_is_not_the_portfolios_fault_does_not_count(live, soon, monkeypatch, error):
    ACTS["a"], left, cycle = buy, [4], Worker.cycle

    def disturbed(worker):
        if left[0]:
            left[0] -= 1
            raise error("away")
        return cycle(worker)

    monkeypatch.setattr(Worker, "cycle", disturbed)
    live.run(portfolio(), engine=ONCE)
    assert live.decided() == BARS


@contextmanager
def locked(url, name):
    """Somebody holds the lock of a portfolio: an engine that is paused, say."""
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM portfolios WHERE portfolio_id = %s FOR UPDATE", [name])
    try:
        yield
    finally:
        connection.close()


def test_a_lock_that_somebody_holds_is_waited_for(live, soon, monkeypatch):
    monkeypatch.setattr("framework.books.reads.LOCK_SECONDS", 0.1)
    ACTS["a"] = buy
    live.run(portfolio(), until=after(0))
    before = len(live.decided())
    with locked(live.database, "a"):
        thread = threading.Thread(target=live.run, args=[portfolio()], kwargs={"engine": ONCE}, daemon=True)
        thread.start()
        time.sleep(1.5)
        assert len(live.decided()) == before
        assert thread.is_alive()
    thread.join(30)
    assert live.decided() == BARS


def test_a_heartbeat_that_stumbles_goes_on(live, monkeypatch):
    # Whatever it stumbles over: without it all leases would be lost, and nothing be given back.
    stumbles = [1]

    def stumble(connection, holder, statuses):
        if stumbles[0]:
            stumbles[0] -= 1
            raise TypeError("nobody has thought of that")
        write_status(connection, holder, statuses)

    monkeypatch.setattr("framework.engine.live.write_status", stumble)
    ACTS["a"] = lambda ctx, n: wait_for(lambda: stumbles == [0], "it stumbles, and goes on")
    live.run(portfolio())
    assert live.decided() == BARS
    assert live.ask("SELECT count(*) FROM leases WHERE released_at IS NULL") == [(0,)]


# --- portfolios that hang, or are late -----------------------------------------------------------------------------


def test_a_strategy_that_hangs_is_told_of_and_neither_commands_nor_the_stop_wait_for_it(
    live, pool, soon, travelling, monkeypatch
):
    monkeypatch.setattr("framework.engine.runner._GRACE_SECONDS", 0.2)
    monkeypatch.setattr("framework.engine.live._PATIENCE_SECONDS", 1.0)
    back = threading.Event()

    def hang(ctx, n):
        back.wait(60)
        ctx.order("AAA", 10)

    ACTS["a"], ACTS["b"] = hang, buy
    travelling.go(noon(after(0)))
    engine = {"lease_seconds": 30, "send_timeout_seconds": 10, "decision_seconds": 0.2}
    with live.running(portfolio("a"), portfolio("b"), engine=engine):
        found = once(pool, "a", lambda it: it.reason, "it is said to hang")
        assert found.state == "deciding"
        assert found.reason.startswith("the cycle has not returned for ")
        outcomes = halt_portfolios(
            pool, None, "test", "me", keep_orders=False, timeout_seconds=20, announce=lambda line: None
        )
        answers = {each.portfolio_id: (each.ok, each.text) for each in outcomes}
        assert answers["b"][0] is True
        assert answers["a"][0] is False
        assert "Open orders stay as they are until it returns" in answers["a"][1]
        assert "what its strategy decides is not sent any more" in answers["a"][1]
        began = time.monotonic()
    assert time.monotonic() - began < 15
    back.set()
    time.sleep(0.2)
    assert live.orders("a") == []
    assert status(pool, "b").holder is None, "what is done is given back at once"
    assert status(pool, "a").is_held, "what may still be at it is not"


def test_a_late_decision_is_refused_and_the_strategy_is_told_the_same_again(live, thinking):
    late = []

    def act(ctx, n):
        if n == 1:
            ctx.order("BBB", 10, limit=1)
        if n == 2:
            ctx.order("AAA", 10)
            if not late:
                late.append(n)
                thinking(61)

    ACTS["a"] = act
    live.run(portfolio())
    assert live.decided() == BARS
    assert live.orders() == [
        ("BBB", "BUY", 10, "ended", "not reached"),
        ("AAA", "BUY", 10, "ended", "late decision"),
        ("AAA", "BUY", 10, "filled", None),
    ]
    # Of the bar that was missed it remembers nothing: the next is its second.
    told = [["BBB", 10.0, "not reached"]]
    assert live.state() == {"n": 5, "told": [[2, [*told, ["AAA", 10.0, "late decision"]]]]}


def test_a_late_decision_takes_nothing_back(live, thinking):
    late = []

    def act(ctx, n):
        if n == 1:
            ctx.order("BBB", 10, limit=1, time_in_force="GTC")
        if n == 2:
            ctx.cancel("BBB")
            if not late:
                late.append(n)
                thinking(61)

    ACTS["a"] = act
    live.run(portfolio(), until=after(0))
    assert late == [2]
    assert live.orders() == [("BBB", "BUY", 10, "open", None)]
    live.run(portfolio())
    assert live.orders() == [("BBB", "BUY", 10, "ended", "cancelled")]


# --- side effects --------------------------------------------------------------------------------------------------


def test_what_a_strategy_does_to_the_arithmetic_of_its_thread_is_over_with_it(live):
    def act(ctx, n):
        decimal.getcontext().prec = 2
        decimal.getcontext().traps[decimal.Inexact] = True
        if n == 1:
            ctx.target_weights({"AAA": 0.5, "BBB": 0.33})

    ACTS["a"] = act
    live.prices("AAA", {}, 101.234567)
    live.run(portfolio())
    assert [trade[2] for trade in live.trades()] == [493, 660]
    cash = Decimal(100_000) - 493 * Decimal("101.234567") - 660 * Decimal(50)
    assert live.ask("SELECT notional FROM cash_equity_book ORDER BY id DESC LIMIT 1") == [(cash,)]


def test_many_portfolios_on_few_connections(live):
    names = [f"p{n}" for n in range(120)]
    ACTS["a"] = buy
    made = [portfolio(name, "a", lookback=2) for name in names]
    live.run(*made, until=after(1), database={"pool": {"max": 6}})
    counts = live.ask("SELECT portfolio_id, count(*) FROM decisions GROUP BY 1")
    assert sorted(counts) == sorted((name, 3) for name in names)
    assert live.ask("SELECT count(*), sum(quantity)::int FROM trade_execution_logs WHERE kind = 'trade'") == [
        (120, 1200)
    ]
