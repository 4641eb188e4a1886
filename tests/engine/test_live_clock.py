"""The live engine by the real clock: bars that come late or in part, commands in between, other engines."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from datetime import time as hour

import numpy as np
import pytest

from framework.db.bars import write_bars
from framework.engine.leases import Leases, portfolio_lease
from framework.engine.operate import halt_portfolios, liquidate_portfolio, resume_portfolios
from framework.engine.status import read_overview
from framework.model.bars import Bars
from tests.engine.runs import ACCOUNTS, ACTS, after, noon, portfolio, wait_for
from tests.engine.stand_in import Account

#: Long enough for what is to happen at once, and far shorter than the engine's own look now and then (30 s).
AT_ONCE = 10.0


@pytest.fixture(autouse=True)
def evening(travelling, monkeypatch):
    """After the close of the first day, whose bars are not known yet."""
    monkeypatch.setattr("framework.engine.live._TELL_SECONDS", 0.05)
    travelling.go(evening_of(after(0)))


def evening_of(day):
    return datetime.combine(day, hour(22), UTC)


def nothing(ctx, n):
    pass


def bar(pool, day, *tickers, price=100.0):
    """Bars of a day become known."""
    count = len(tickers)
    times = np.full(count, np.datetime64(day, "us"))
    price = np.full(count, price)
    bars = Bars(tickers, np.arange(count, dtype=np.int32), times, price, price + 1, price - 1, price, price)
    with pool.transaction() as connection:
        write_bars(connection, "csv:live", "1d", bars)


def listens(live):
    """Whether the engine hears of new bars."""
    return live.ask(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%' AND pid <> 0"
    )


@contextmanager
def waiting(live, *portfolios, **sections):
    """An engine that has nothing to do: prices end on the day before its first."""
    for ticker in ("AAA", "BBB"):
        live.prices(ticker, {}, until=after(-1))
    with live.running(*(portfolios or [portfolio()]), **sections) as engine:
        wait_for(lambda: live.ask("SELECT 1 FROM pnl_book") and listens(live), "its first cycle is over")
        assert live.decided() == [], "what was decided on would be over"
        yield engine


# --- bars ----------------------------------------------------------------------------------------------------------


def test_a_new_bar_is_acted_on_at_once(live, pool):
    ACTS["a"] = lambda ctx, n: ctx.order("AAA", 10)
    with waiting(live):
        began = time.monotonic()
        bar(pool, after(0), "AAA", "BBB")
        wait_for(lambda: live.decided() == [str(after(0))], "it decides", AT_ONCE)
        wait_for(lambda: [order[3] for order in live.orders()] == ["open"], "it sends", AT_ONCE)
        assert time.monotonic() - began < AT_ONCE


def test_the_rest_of_a_bar_is_waited_for(live, pool):
    seen = []
    ACTS["a"] = lambda ctx, n: seen.append(np.array(ctx.close).tolist())
    with waiting(live):
        bar(pool, after(0), "AAA", price=101.0)
        time.sleep(0.7)
        assert live.decided() == []
        assert live.ask("SELECT count(*) FROM pnl_book") == [(1,)], "nor is it valued"
        bar(pool, after(0), "BBB", price=51.0)
        wait_for(lambda: live.decided(), "it decides", AT_ONCE)
    assert seen == [[101.0, 51.0]]


def test_the_rest_of_a_bar_is_not_waited_for_without_end(live, pool, monkeypatch):
    monkeypatch.setattr("framework.engine.runner._SOON", timedelta(seconds=0.05))
    seen = []
    ACTS["a"] = lambda ctx, n: seen.append(np.array(ctx.close).tolist())
    with waiting(live, engine={"lease_seconds": 30, "send_timeout_seconds": 10, "bar_patience_seconds": 1}):
        began = time.monotonic()
        bar(pool, after(0), "AAA", price=101.0)
        wait_for(lambda: live.decided(), "it decides", AT_ONCE)
        assert time.monotonic() - began >= 1
    assert seen[0][0] == 101.0
    assert np.isnan(seen[0][1])


def test_a_ticker_without_the_bar_before_is_not_waited_for(live, pool):
    ACTS["a"] = nothing
    live.prices("AAA", {}, until=after(-1))
    live.prices("BBB", {}, until=after(-3))
    with live.running(portfolio()):
        wait_for(lambda: live.ask("SELECT 1 FROM pnl_book") and listens(live), "its first cycle is over")
        bar(pool, after(0), "AAA")
        wait_for(lambda: live.decided(), "it decides", AT_ONCE)


# --- commands ------------------------------------------------------------------------------------------------------


def quiet(line):
    """For what is announced."""


def state(pool, name="a"):
    with pool.connection() as connection:
        return next(each.state for each in read_overview(connection) if each.portfolio_id == name)


def test_a_running_engine_is_halted_and_resumed(live, pool):
    ACTS["a"] = lambda ctx, n: ctx.order("AAA", 10, limit=1, time_in_force="GTC")
    with waiting(live):
        bar(pool, after(0), "AAA", "BBB")
        wait_for(lambda: [order[3] for order in live.orders()] == ["open"], "its order is sent", AT_ONCE)
        (outcome,) = halt_portfolios(pool, "a", "test", "me", keep_orders=False, timeout_seconds=20, announce=quiet)
        assert (outcome.ok, outcome.text) == (True, "halted; no order is open")
        assert live.orders() == [("AAA", "BUY", 10, "ended", "halted")]
        wait_for(lambda: state(pool) == "halted", "it is shown", AT_ONCE)
        (outcome,) = resume_portfolios(pool, "a", "me", timeout_seconds=20, announce=quiet)
        assert (outcome.ok, outcome.text) == (True, "resumed")
        wait_for(lambda: state(pool) == "waiting", "it is shown", AT_ONCE)


def test_a_broker_plugin_that_breaks_is_the_answer_and_not_the_end(live, pool):
    account = ACCOUNTS["stand_in"] = Account()

    def broken(order_id):
        raise ValueError("a plugin's own")

    account.on_cancel = broken
    ACTS["a"] = lambda ctx, n: ctx.order("AAA", 10)
    with waiting(live, broker="stand_in"):
        bar(pool, after(0), "AAA", "BBB")
        wait_for(lambda: [order[3] for order in live.orders()] == ["open"], "its order is sent", AT_ONCE)
        (outcome,) = halt_portfolios(pool, "a", "test", "me", keep_orders=False, timeout_seconds=20, announce=quiet)
        assert (outcome.ok, outcome.text) == (False, "ValueError: a plugin's own")
        account.on_cancel = account.close
        wait_for(lambda: live.orders() == [("AAA", "BUY", 10, "ended", "halted")], "it is taken back", AT_ONCE)


def test_an_engine_that_waits_stops_at_once(live):
    ACTS["a"] = nothing
    with waiting(live):
        began = time.monotonic()
    assert time.monotonic() - began < AT_ONCE
    assert live.ask("SELECT count(*) FROM leases WHERE released_at IS NULL") == [(0,)]
    assert live.ask("SELECT count(*) FROM engines WHERE stopped_at IS NULL") == [(0,)]


# --- other engines -------------------------------------------------------------------------------------------------

SHORT = {"lease_seconds": 2, "send_timeout_seconds": 0.5}


def test_a_second_engine_says_whom_it_waits_for_and_takes_over(live, pool):
    ACTS["a"] = ACTS["b"] = nothing
    Leases(pool, "host:1:dead", 2.0, 0.5).acquire([portfolio_lease("a")])
    began = time.monotonic()
    said = live.run(portfolio("a"), portfolio("b"), engine=SHORT, until=after(0))
    assert time.monotonic() - began > 1.5
    told = [line for line in said if line.startswith("Waiting for ")]
    assert len(told) == 1
    assert told[0].startswith("Waiting for a: engine host:1:dead holds them. If it does not live any more, they are ")
    assert len(live.decided("a")) == len(live.decided("b")) == 2


def test_two_engines_at_once_decide_each_bar_once(live, pool):
    ACTS["a"] = lambda ctx, n: ctx.order("AAA", 1)
    with waiting(live, engine=SHORT), live.running(portfolio(), engine=SHORT) as second:
        wait_for(lambda: second.heard("Waiting for a: engine "), "the second one waits", AT_ONCE)
        bar(pool, after(0), "AAA", "BBB")
        wait_for(lambda: [order[3] for order in live.orders()] == ["open"], "one of them decides", AT_ONCE)
        time.sleep(0.3)
    assert live.orders() == [("AAA", "BUY", 1, "open", None)]


def test_an_engine_that_has_lost_its_lease_decides_nothing_until_it_has_it_again(live, pool, travelling):
    ACTS["a"] = nothing
    with waiting(live, engine=SHORT):
        live.ask(
            "UPDATE leases SET holder = 'thief', epoch = epoch + 1, expires_at = clock_timestamp() + interval '1.5 s'"
        )
        bar(pool, after(0), "AAA", "BBB")
        time.sleep(0.5)
        assert live.decided() == []
        wait_for(lambda: live.decided(), "it takes over again", AT_ONCE)
    assert live.ask("SELECT epoch FROM leases") == [(3,)]


def test_portfolios_go_on_while_another_one_works(live, pool):
    is_working, may_end = threading.Event(), threading.Event()

    def work(ctx, n):
        is_working.set()
        may_end.wait(30)

    ACTS["a"], ACTS["b"] = work, nothing
    with waiting(live, portfolio("a"), portfolio("b")):
        bar(pool, after(0), "AAA", "BBB")
        assert is_working.wait(AT_ONCE)
        wait_for(lambda: live.decided("b"), "the other decides", AT_ONCE)
        assert live.decided("a") == []
        may_end.set()
        wait_for(lambda: live.decided("a"), "it decides too", AT_ONCE)


def test_a_day_later_the_engine_goes_on(live, pool, travelling):
    ACTS["a"] = lambda ctx, n: ctx.order("AAA", 10) if n == 1 else None
    with waiting(live):
        bar(pool, after(0), "AAA", "BBB")
        wait_for(lambda: [order[3] for order in live.orders()] == ["open"], "it decides and sends", AT_ONCE)
        travelling.go(noon(after(2)))
        bar(pool, after(1), "AAA", "BBB", price=90.0)
        wait_for(lambda: len(live.decided()) == 2, "it decides again", AT_ONCE)
    assert live.trades() == [("AAA", "BUY", 10, 90.0, str(after(1)))]


def test_a_decision_that_was_made_when_its_moment_had_gone_is_late(live, pool, travelling):
    def think(ctx, n):
        ctx.order("AAA", 10)
        travelling.go(evening_of(after(1)))

    ACTS["a"] = think
    with waiting(live):
        bar(pool, after(0), "AAA", "BBB")
        wait_for(lambda: live.orders(), "it decides", AT_ONCE)
    assert live.orders() == [("AAA", "BUY", 10, "ended", "late decision")]
    assert live.state() == {}


def test_nothing_is_sold_while_it_is_not_certain_what_is_held(live, pool, travelling):
    account = ACCOUNTS["stand_in"] = Account()
    account.on_cancel = lambda order_id: None  # it takes its time
    ACTS["a"] = lambda ctx, n: ctx.order("AAA", 10)
    with waiting(live, broker="stand_in"):
        bar(pool, after(0), "AAA", "BBB")
        wait_for(lambda: [order[3] for order in live.orders()] == ["open"], "its order is sent", AT_ONCE)
        (order,) = account.orders
        account.fill(order, 4)
        outcome = liquidate_portfolio(pool, "a", "me", timeout_seconds=20, announce=quiet)
        assert (outcome.ok, outcome.text) == (False, "1 orders of portfolio a are not final yet; liquidate again")
        account.close(order)
        outcome = liquidate_portfolio(pool, "a", "me", timeout_seconds=20, announce=quiet)
        assert outcome.ok, outcome.text
        assert [(each.side, int(each.quantity)) for each in account.submitted] == [("BUY", 10), ("SELL", 4)]
